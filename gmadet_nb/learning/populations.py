"""Injections are not transients: what is kept of each, on galaxies and off them."""

import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.learning.completeness import rate

_PLACES = {"all": None, "empty sky": False, "on a galaxy": True}
_LABEL = "Label some of them in 06_label and train again."
_ADVICE = {"on a galaxy": "Raise near_galaxy_fraction in 02_simulate, or label some."}
_NAMES = ("population", "place", "n", "n_kept", "kept", "low", "high")
_DTYPE = (str, str, int, int, float, float, float)


def count_kept(name, kept, on_galaxy):
    """Count what the classifier keeps of one population of sources.

    Parameters
    ----------
    name : str
        Of the population.
    kept : (n,) bool array
        Of its sources that were detected: whether they are kept.
    on_galaxy : (n,) array of bool or float, or None
        NaN where it is not known, None where it is of none: these are counted in "all"
        alone.

    Returns
    -------
    astropy.table.Table
        One row a place: ``population``, ``place`` ("all", "empty sky", "on a galaxy"),
        ``n``, ``n_kept``, ``kept`` with ``low``, ``high`` (95%).
    """
    kept, rows = np.asarray(kept, bool), []
    for place, wanted in _PLACES.items():
        some = np.ones(len(kept), bool)
        if wanted is not None:
            if on_galaxy is None:
                continue
            # NaN is neither.
            some = np.asarray(on_galaxy, float) == wanted
        found = rate(int(kept[some].sum()), int(some.sum()))
        values = (found[key] for key in ("n", "k", "value", "low", "high"))
        rows.append((name, place, *values))
    return Table(rows=rows, names=_NAMES, dtype=_DTYPE)


def compare_populations(injected, others):
    """Put what is kept of injected sources beside what is kept of others.

    Parameters
    ----------
    injected : astropy.table.Table
        From `count_kept`.
    others : list of astropy.table.Table
        From `count_kept`: known transients, variables, what a person confirmed.

    Returns
    -------
    table : astropy.table.Table
        All rows.
    words : list of str
        One sentence for each population and place whose interval lies below that of the
        injected ones: there the figures of the test part promise too much.
    """
    table = vstack([injected, *others], metadata_conflicts="silent")
    promised = {row["place"]: row for row in injected}
    words = []
    for row in table[len(injected) :]:
        there = promised[row["place"]]
        if row["n"] and there["n"] and row["high"] < there["low"]:
            words.append(
                f"Of {row['population']}, {row['place']}, {_share(row)} are kept, "
                f"of the injected ones {_share(there)}: the test part promises too "
                f"much for them. {_ADVICE.get(row['place'], _LABEL)}"
            )
    return table, words


def _share(row):
    return f"{row['kept']:.0%} ({row['low']:.0%} to {row['high']:.0%}, {row['n']})"
