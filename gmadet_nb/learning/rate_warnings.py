"""Where more bogus pass than were wanted, and where only chance says so."""

import numpy as np

from gmadet_nb.learning.check_rates import QUANTITIES
from gmadet_nb.learning.completeness import binomial_interval

# Some 30 bins are looked at: one in thirty would stand out at 95% by chance alone.
_SURE = 0.999


def warn_of_rates(table, *, target_fpr):
    """Say in words where clearly more bogus pass than were wanted.

    Parameters
    ----------
    table : astropy.table.Table
        From `gmadet_nb.learning.check_rates.rates_by_quantity`.
    target_fpr : float
        Wanted false-positive rate.

    Returns
    -------
    list of str
    """
    words = []
    for row in table:
        n = int(row["n_bogus"])
        k = round(n * row["fpr"]) if n else 0
        if n and binomial_interval(k, n, confidence=_SURE)[0] > target_fpr:
            words.append(
                f"Where the {QUANTITIES[row['quantity']][0]} is {row['bin']}, "
                f"{k} of {n} bogus pass ({row['fpr']:.1%}), and {target_fpr:.1%} were "
                "wanted: label more such bogus in 06_label, or trust these less."
            )
    return words


def within_chance(table, *, target_fpr):
    """Say what to make of bins that stand out where `warn_of_rates` says nothing.

    Parameters
    ----------
    table, target_fpr
        As for `warn_of_rates`.

    Returns
    -------
    str
    """
    some = table[np.asarray(table["n_bogus"]) > 0]
    above = int(np.sum(np.asarray(some["fpr_low"]) > target_fpr))
    if not above:
        return f"In none of {len(some)} bins do more bogus pass than chance allows."
    bars = "bar stands" if above == 1 else "bars stand"
    return (
        f"{above} {bars} wholly above the dotted line, of {len(some)} bins: a 95 % "
        "interval does so by chance in up to one of 40 bins. None is sure: at 99.9 % "
        "every bin may still have the rate that was wanted."
    )
