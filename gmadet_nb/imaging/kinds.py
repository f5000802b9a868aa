"""What kind of thing a detection looks like, by its flags alone."""

import numpy as np
from astropy.table import Table

from gmadet_nb.imaging.measure import FLAG_BITS

#: In words, in the order of what a person wants to see first.
KINDS = ("clean", "dipole", "repeats", "near saturated", "masked or edge", "negative")
#: Kinds of streaks, as the table has them and in words.
STREAK_KINDS = (("streak", "streak"), ("detector", "detector line"))
# Two that are nearer are residuals of one star [pixel].
_ONE_PLACE = 12.0
# The first that holds names the kind.
_BY_FLAG = (
    ("repeats", ("repeats",)),
    ("near saturated", ("saturated_near",)),
    ("masked or edge", ("masked_core", "edge", "fit_failed")),
    ("dipole", ("dipole",)),
)


def kinds_of(candidates):
    """Return the kind of each candidate, one of `KINDS`.

    "clean" ones have no flag: they are not the real ones, only those that need more
    than a flag to be told apart.

    Parameters
    ----------
    candidates : astropy.table.Table
        With ``flags``, bits of `gmadet_nb.imaging.measure.FLAG_BITS`.

    Returns
    -------
    kinds : (n,) array of str
    """
    flags = np.asarray(candidates["flags"], dtype=int)
    kinds = np.full(len(flags), "clean", dtype="U14")
    for kind, names in reversed(_BY_FLAG):
        bits = sum(FLAG_BITS[name] for name in names)
        kinds[(flags & bits) > 0] = kind
    return kinds


def count_kinds(candidates):
    """Count candidates of each kind in words, such as "120 clean, 80 repeats"."""
    kinds = kinds_of(candidates)
    counts = {kind: int(np.sum(kinds == kind)) for kind in KINDS}
    return ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)


def pick_exposure(subtractions, streaks):
    """Pick the exposure that shows most: one with a trail where there is one.

    Parameters
    ----------
    subtractions : astropy.table.Table
        ``exposure_id``, ``noise_width``: NaN where there is no difference.
    streaks : astropy.table.Table
        ``exposure_id``, ``kind``, ``snr``; no columns where there are none.

    Returns
    -------
    exposure_id : str
        Of the brightest trail, a satellite's before a line of the detector; else of
        the first difference.
    """
    for kind, _ in STREAK_KINDS:
        trails = streaks[streaks["kind"] == kind] if len(streaks) else streaks
        if len(trails):
            return str(trails["exposure_id"][np.argmax(trails["snr"])])
    made = subtractions[np.asarray(subtractions["noise_width"]) > 0]
    return str(made["exposure_id"][0])


def pick_examples(candidates, negatives, streaks, *, shown, n):
    """Pick the strongest of each kind, no two of the same star.

    Parameters
    ----------
    candidates, negatives, streaks : astropy.table.Table
        Of the night: ``exposure_id``, ``x``, ``y`` [pixel], ``snr``, ``flags``; of
        streaks the ends and ``kind``. The last two may have no columns where there
        are none.
    shown : str
        Exposure to take them from. A kind that it lacks is taken from the exposure
        that has its strongest.
    n : int
        Of each kind, at most.

    Returns
    -------
    examples : astropy.table.Table
        ``kind``, ``exposure_id``, ``x``, ``y``, ``snr``, in the order of `KINDS`,
        streaks last.
    """
    kinds = kinds_of(candidates)
    groups = [(kind, candidates[kinds == kind]) for kind in KINDS[:-1]]
    groups.append((KINDS[-1], negatives))
    groups += [(name, _of_streaks(streaks, kind)) for kind, name in STREAK_KINDS]
    rows = []
    for kind, table in groups:
        rows += [
            (kind, row["exposure_id"], row["x"], row["y"], row["snr"])
            for row in _strongest(table, shown, n)
        ]
    names, dtype = ("kind", "exposure_id", "x", "y", "snr"), ("U14", str, *3 * (float,))
    return Table(rows=rows or None, names=names, dtype=dtype)


def _of_streaks(streaks, kind):
    """Return the streaks of a kind with their middles as places."""
    if not len(streaks):
        return streaks
    found = streaks[streaks["kind"] == kind]
    found["x"] = (found["x1"] + found["x2"]) / 2
    found["y"] = (found["y1"] + found["y2"]) / 2
    return found


def _strongest(table, shown, n):
    """Return the n strongest rows of one exposure, each at a place of its own."""
    if not len(table):
        return []
    strength = np.abs(np.asarray(table["snr"], dtype=float))
    exposures = np.asarray(table["exposure_id"]).astype(str)
    if shown not in exposures:
        shown = exposures[np.argmax(strength)]
    there = np.flatnonzero(exposures == shown)
    chosen = []
    for row in table[there[np.argsort(-strength[there], kind="stable")]]:
        if len(chosen) == n:
            break
        beside = [
            np.hypot(row["x"] - other["x"], row["y"] - other["y"]) < _ONE_PLACE
            for other in chosen
        ]
        if not any(beside):
            chosen.append(row)
    return chosen
