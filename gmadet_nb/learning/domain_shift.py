"""Compare injected sources with the candidates that the model will meet."""

import numpy as np
from astropy.table import Table
from scipy import stats

from gmadet_nb.files.tables import as_floats

_MIN_EACH = 20
# |delta| from which two samples are called different (Romano et al. 2006: "medium").
_NOTABLE = 0.33
# What to do about a column, by its name in words.
_RANGE = "Set snr_range in 02_simulate to what the sky has, and train again."
_STEPS = {"S/N": _RANGE, "magnitude [mag]": _RANGE}
_STEP = "Look at the PSF in 01_images: the injected sources are made of it."


def compare_samples(first, second, columns):
    """Compare two tables of candidates column by column.

    Parameters
    ----------
    first, second : astropy.table.Table
        Such as injected ones, and real ones of the sky.
    columns : sequence of str
        Those that both have; NaN are left out.

    Returns
    -------
    astropy.table.Table
        One row a column: ``column``, ``n_first``, ``n_second``, ``median_first``,
        ``median_second``, ``ks``, the largest distance of the two distributions,
        ``p``, how often it is so large by chance, and ``delta``, Cliff's: by how much
        oftener a value of the first is above one of the second than below (-1 to 1).
        The effect size counts: with many candidates every difference is significant.
        NaN where either has fewer than 20.

    Notes
    -----
    Cliff 1993, Psychological Bulletin 114, 494.
    """
    rows = []
    for name in columns:
        a, b = (_finite(table, name) for table in (first, second))
        row = [name, len(a), len(b), _median(a), _median(b)]
        if min(len(a), len(b)) >= _MIN_EACH:
            test = stats.ks_2samp(a, b)
            above = stats.mannwhitneyu(a, b).statistic
            row += [test.statistic, test.pvalue, 2 * above / (len(a) * len(b)) - 1]
        else:
            row += [np.nan] * 3
        rows.append(row)
    names = ("column", "n_first", "n_second", "median_first", "median_second")
    dtype = (str, int, int, float, float, float, float, float)
    return Table(rows=rows or None, names=(*names, "ks", "p", "delta"), dtype=dtype)


def describe_shift(table, *, first, second):
    """Say in words in what two samples differ notably.

    Parameters
    ----------
    table : astropy.table.Table
        From `compare_samples`.
    first, second : str
        What the samples are.

    Returns
    -------
    list of str
    """
    words = []
    for row in table:
        if abs(row["delta"]) >= _NOTABLE:
            more = "higher" if row["delta"] > 0 else "lower"
            words.append(
                f"{first} have {more} {row['column']} than {second}: median "
                f"{row['median_first']:.3g} against {row['median_second']:.3g} "
                f"(Cliff's delta {row['delta']:+.2f}). "
                f"{_STEPS.get(row['column'], _STEP)}"
            )
    return words


def _finite(table, name):
    if name not in table.colnames:
        return np.empty(0)
    values = as_floats(table[name])
    return values[np.isfinite(values)]


def _median(values):
    return float(np.median(values)) if len(values) else np.nan
