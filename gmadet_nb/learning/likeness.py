"""What exposures a model was trained on, and how those of another run differ."""

import numpy as np

from gmadet_nb.files.tables import as_floats

# Beyond these a network sees stars of a size that it was not trained on.
_SCALE_RATIO = 1.1
_FWHM_RATIO = 1.2
_WORDS = {
    "telescopes": "telescope",
    "filters": "filter",
    "pixel_scale": "pixel scale",
    "fwhm": "FWHM",
}
_STEP = "Label some candidates of this run before you trust the rates."


def describe_exposures(exposures, *, names=None):
    """Return what a card says of the exposures that a model was trained on.

    Parameters
    ----------
    exposures : astropy.table.Table
        The exposures table.
    names : set of str, optional
        ``exposure_id`` of those that count; all that are used if not given.

    Returns
    -------
    dict
        ``telescopes``, ``filters``: names, sorted; ``pixel_scale`` [arcsec/pixel] and
        ``fwhm`` [pixel]: least and largest, None where they are not known;
        ``n_exposures``.
    """
    rows = exposures[np.asarray(exposures["used"], bool)]
    if names is not None:
        rows = rows[[str(key) in names for key in rows["exposure_id"]]]
    return {
        "telescopes": _words(rows, "telescope"),
        "filters": _words(rows, "filter"),
        "pixel_scale": _range(rows, "pixel_scale"),
        "fwhm": _range(rows, "fwhm"),
        "n_exposures": len(rows),
    }


def differences(trained_on, exposures):
    """Say in words how the exposures of a run differ from those that trained a model.

    Parameters
    ----------
    trained_on : dict or None
        From `describe_exposures`, as the card holds it; None for a card without.
    exposures : astropy.table.Table
        Those of the run.

    Returns
    -------
    list of str
        One sentence a difference; none where all is alike or nothing is known.
    """
    if not trained_on:
        return ["The card does not say which exposures the model was trained on."]
    here, words = describe_exposures(exposures), []
    for name in ("telescopes", "filters"):
        new = sorted(set(here[name]) - set(trained_on[name]))
        if new and trained_on[name]:
            words.append(
                f"The {_WORDS[name]} {', '.join(new)} is not among those that "
                f"trained the model: {', '.join(trained_on[name])}. {_STEP}"
            )
    for name, unit, ratio in (
        ("pixel_scale", "arcsec/pixel", _SCALE_RATIO),
        ("fwhm", "pixel", _FWHM_RATIO),
    ):
        mine, known = here[name], trained_on[name]
        if mine and known:
            low, high = known[0] / ratio, known[1] * ratio
            if mine[0] < low or mine[1] > high:
                words.append(
                    f"The {name} is {_span(mine)} {unit} here and was {_span(known)} "
                    f"in training. {_STEP}"
                )
    return words


def compared(trained_on, exposures):
    """Return what is known both of a model's exposures and of those of a run.

    Parameters
    ----------
    trained_on : dict or None
        From `describe_exposures`, as the card holds it; None for a card without.
    exposures : astropy.table.Table
        Those of the run.

    Returns
    -------
    list of str
        Such as "telescope"; none for stamps, of which nothing is known.
    """
    here, known = describe_exposures(exposures), trained_on or {}
    return [text for name, text in _WORDS.items() if here[name] and known.get(name)]


def alike(trained_on, exposures):
    """Say what the exposures of a run were found alike in, where nothing differs."""
    names = compared(trained_on, exposures)
    if not names:
        return (
            "Whether these exposures are like those that trained the model is not "
            f"known: none of {', '.join(_WORDS.values())} is known of both."
        )
    return (
        "These exposures are like those that trained the model, as far as is known: "
        f"by {', '.join(names)}."
    )


def _words(rows, name):
    """Return the names in a column, each once, without empty ones."""
    if name not in rows.colnames:
        return []
    return sorted({str(value) for value in rows[name]} - {"", "--"})


def _range(rows, name):
    """Return the least and the largest finite value of a column, or None."""
    values = as_floats(rows[name]) if name in rows.colnames else np.empty(0)
    values = values[np.isfinite(values)]
    return [float(values.min()), float(values.max())] if len(values) else None


def _span(ends):
    """Write a range, or one value where both ends are the same."""
    low, high = (f"{end:.3g}" for end in ends)
    return low if low == high else f"{low} to {high}"
