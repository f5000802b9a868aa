"""Real ones without what makes them real: blanked, or moved off their center."""

import numpy as np
from astropy.table import Table
from scipy import stats

from gmadet_nb.learning import evaluate

_DIFFERENCE = 2
_SHIFT = 5  # [pixel] at a wide PSF still off the center
_LEAST = 10  # cutouts, below which their scores are not compared
_KEPT = 0.2  # of the changed ones, that make a warning
# In this share of pairs a cutout as it is should score higher than a changed one; half
# of them by chance.
_HIGHER = 0.75
# How a cutout is changed, what a score that stays says, and what to do about it.
_CHANGES = {
    "blank": (
        "when their difference is blanked",
        "the networks take the word of the science image, in which every star looks "
        "real, and of what lies around",
        "Label more bogus on stars and galaxies in 06_label and train again; until "
        "then look at the difference of what is kept first.",
    ),
    "shifted": (
        f"with their middle {_SHIFT} pixels beside it",
        "a source near a candidate lifts its score",
        "Label more bogus beside bright sources in 06_label and train again.",
    ),
}


def score_changed(predict, pixels):
    """Score cutouts as they are, without their difference, and off their center.

    Parameters
    ----------
    predict : callable
        Raw cutouts, (n, size, size, 3) [adu], to P(real), (n,).
    pixels : (n, size, size, 3) array

    Returns
    -------
    astropy.table.Table
        ``as_is``, ``blank`` (the difference is noise alone: there is nothing), and
        ``shifted`` (by 5 pixels: the middle is empty), one row a cutout.
    """
    pixels = np.asarray(pixels, np.float32)
    blank = pixels.copy()
    rng = np.random.default_rng(0)
    for cutout in blank:
        plane = cutout[..., _DIFFERENCE]
        finite = np.isfinite(plane)
        if finite.any():
            sigma = stats.median_abs_deviation(plane[finite], scale="normal")
            plane[finite] = sigma * rng.standard_normal(int(finite.sum()))
    shifted = np.roll(pixels, (_SHIFT, _SHIFT), axis=(1, 2))
    return Table(
        {
            "as_is": predict(pixels),
            "blank": predict(blank),
            "shifted": predict(shifted),
        }
    )


def higher_as_is(changed):
    """Say how clearly cutouts score higher as they are than after a change.

    No threshold decides here: where it keeps few, as few are kept of the changed.

    Parameters
    ----------
    changed : astropy.table.Table
        From `score_changed`.

    Returns
    -------
    dict
        "blank" and "shifted": share of pairs of one cutout as it is and one that was
        changed in which the former is higher (the area under the ROC curve), 0.5 by
        chance; NaN where there are fewer than 10 cutouts.
    """
    n = len(changed)
    as_it_is = np.arange(2 * n) < n
    found = {}
    for name in ("blank", "shifted"):
        scores = np.concatenate([changed["as_is"], changed[name]])
        found[name] = evaluate.auc(as_it_is, scores) if n >= _LEAST else np.nan
    return found


def warn_of_changed(kept, higher):
    """Say in words where real ones keep their score without what makes them real.

    Parameters
    ----------
    kept : dict
        "as_is", "blank", "shifted": share of real ones that are kept so.
    higher : dict
        From `higher_as_is`.

    Returns
    -------
    list of str
    """
    words = []
    for name, (how, why, step) in _CHANGES.items():
        if higher[name] < _HIGHER:
            words.append(
                f"Real ones score about as high {how} as they do as they are, which is "
                f"higher in {higher[name]:.0%} of pairs (50% by chance; at the "
                f"threshold {kept[name]:.0%} are kept, and {kept['as_is']:.0%} as they "
                f"are): {why}. {step}"
            )
        elif kept[name] > _KEPT:
            words.append(
                f"{kept[name]:.0%} of the real ones are kept {how}: {why}. {step}"
            )
    return words
