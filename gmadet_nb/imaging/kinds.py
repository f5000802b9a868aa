"""What kind of thing a detection looks like, by its flags alone."""

import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.imaging.measure import FLAG_BITS

#: In words, in the order of what a person wants to see first.
KINDS = ("clean", "dipole", "repeats", "near saturated", "masked or edge", "negative")
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


def pick_examples(candidates, negatives, *, n):
    """Pick the strongest of each kind.

    Parameters
    ----------
    candidates, negatives : astropy.table.Table
        ``x``, ``y`` [pixel], ``snr``, ``flags``; of one exposure. ``negatives`` may
        have no columns where there are none.
    n : int
        Of each kind, at most.

    Returns
    -------
    examples : astropy.table.Table
        ``kind``, ``x``, ``y``, ``snr``, in the order of `KINDS`.
    """
    kinds = kinds_of(candidates)
    parts = []
    for kind in KINDS:
        table = candidates[kinds == kind]
        if kind == "negative":
            table = negatives
        if not len(table):
            continue
        order = np.argsort(-np.abs(np.asarray(table["snr"], dtype=float)))[:n]
        part = Table(
            {name: np.asarray(table[name])[order] for name in ("x", "y", "snr")}
        )
        part.add_column(np.full(len(part), kind, dtype="U14"), name="kind", index=0)
        parts.append(part)
    if not parts:
        return Table(
            names=("kind", "x", "y", "snr"), dtype=("U14", float, float, float)
        )
    return vstack(parts)
