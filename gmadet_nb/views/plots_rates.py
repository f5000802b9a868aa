"""Figures of rates with their intervals: data first, axes last and returned."""

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import PercentFormatter

from gmadet_nb.files.rundir import EMPTY
from gmadet_nb.learning.completeness import binomial_interval
from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none

_KINDS = (("tpr", "n_real", "real", "o"), ("fpr", "n_bogus", "bogus", "s"))
_MAX_BINS = 24  # of more, neighbours are drawn together
_N_POOLED = 12
_FEW = 10  # candidates in a bin, below which it is drawn pale


def rates(table, quantities, *, target_fpr, axes):
    """Draw TPR and FPR against what they may depend on, with 95% intervals.

    Bins without a candidate are left out, and those with fewer than 10 are pale. Of
    more than 24 bins (exposures, as a rule) neighbours are counted together.

    Parameters
    ----------
    table : astropy.table.Table
        From `gmadet_nb.learning.check_rates.rates_by_quantity`.
    quantities : dict
        Name -> words, one column of panels each.
    target_fpr : float
        Drawn as a line.
    axes : (2, n) array of axes
        TPR above, FPR below.
    """
    for column, (quantity, words) in enumerate(quantities.items()):
        some = table[np.asarray(table["quantity"]) == quantity]
        axes[0, column].set_title(words, fontsize=9.5)
        for ax, (rate, n_name, color, marker) in zip(
            axes[:, column], _KINDS, strict=True
        ):
            if len(table) and not len(some):
                draw_none(ax, "not measured")
            elif not np.sum(some[n_name]):
                draw_none(ax, f"no {color}")
            else:
                _rate(_pool(some, rate, n_name), color=color, marker=marker, ax=ax)
    for ax in axes[1]:
        if ax.get_gid() == EMPTY:
            continue
        ax.axhline(target_fpr, color=COLORS["limit"], lw=1, ls=":", zorder=0)
        # A threshold at 1% must be seen beside an interval that reaches to 30%.
        ax.set_yscale("symlog", linthresh=target_fpr, linscale=0.6)
        ax.set_ylim(-0.15 * target_fpr, 1.2)
        ax.yaxis.set_major_locator(mpl.ticker.FixedLocator([0, 0.01, 0.1, 1]))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    for ax in axes[0]:
        if ax.get_gid() == EMPTY:
            continue
        ax.set_ylim(-0.03, 1.05)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_ylabel("TPR: real ones kept")
    axes[1, 0].set_ylabel("FPR: bogus kept")
    return axes


def _pool(table, rate, n_name):
    """Return name, number, rate and interval of the bins that hold something.

    Of too many, neighbours are one: named by their numbers in the whole table.
    """
    n = np.asarray(table[n_name])
    rows = np.flatnonzero(n)
    if len(rows) <= _MAX_BINS:
        some = table[rows]
        found = [list(some["bin"]), n[rows]]
        return found + [np.asarray(some[rate + end]) for end in ("", "_low", "_high")]
    k = np.round(n[rows] * np.asarray(table[rate])[rows]).astype(int)
    groups = np.array_split(np.arange(len(rows)), _N_POOLED)
    names = [f"no. {rows[g[0]] + 1} to {rows[g[-1]] + 1}" for g in groups]
    n, k = (np.array([some[g].sum() for g in groups]) for some in (n[rows], k))
    return [names, n, k / n, *binomial_interval(k, n)]


def _rate(bins, *, color, marker, ax):
    """Draw one rate against the bins, the number of candidates at each."""
    names, n, value, low, high = bins
    x = np.arange(len(names))
    spread = np.clip([value - low, high - value], 0, None)
    for some, alpha in ((n >= _FEW, 1.0), (n < _FEW, 0.35)):
        if some.any():
            style = {"fmt": marker, "ms": 5, "capsize": 2, "alpha": alpha}
            error = spread[:, some]
            ax.errorbar(x[some], value[some], error, color=COLORS[color], **style)
    labels = [f"{name} ({m})" for name, m in zip(names, n, strict=True)]
    style = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
    ax.set_xticks(x, labels, **style)
    ax.set_xlim(-0.6, len(names) - 0.4)


def stages(table, fits, *, axes):
    """Draw what is left after each stage against magnitude and S/N.

    Parameters
    ----------
    table, fits : astropy.table.Table
        From `gmadet_nb.learning.check_stages.stage_table` and ``stage_fits``.
    axes : two axes
        For magnitude and for S/N.
    """
    words = {
        "mag": ("injected magnitude [mag]", "m50", "half at {:.2f} mag"),
        "snr": ("injected S/N on the difference", "snr50", "half at S/N {:.1f}"),
    }
    for ax, (axis, (x_label, name, half)) in zip(axes, words.items(), strict=True):
        ax.set(xlabel=x_label, ylabel="left / injected", ylim=(-0.03, 1.05))
        some = table[np.asarray(table["axis"]) == axis]
        if not np.sum(some["n_injected"]):
            draw_none(ax, "no injected sources")
            continue
        for number, fit in enumerate(fits):
            here = some[np.asarray(some["stage"]) == fit["stage"]]
            known = np.isfinite(fit[name])
            label = f"{fit['stage']}, {half.format(fit[name]) if known else 'no half'}"
            _stage(here, axis, number, fit[name], label=label, ax=ax)
        if axis == "snr":
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend(loc="lower left" if axis == "mag" else "lower right")
    return axes


def _stage(table, axis, number, middle, *, label, ax):
    """Draw one stage, beside the others in each bin, and a line at its half."""
    some = table[np.asarray(table["n_injected"]) > 0]
    low, high = np.asarray(some["bin_low"]), np.asarray(some["bin_high"])
    share = (number + 1.5) / 5
    x = low + share * (high - low) if axis == "mag" else low * (high / low) ** share
    value = np.asarray(some["completeness"])
    spread = np.clip([value - some["low"], some["high"] - value], 0, None)
    style = {"fmt": MARKERS[number], "ms": 5, "lw": 1.2, "capsize": 2}
    ax.errorbar(x, value, spread, color=SERIES[number], label=label, **style)
    if np.isfinite(middle):
        ax.axvline(middle, color=SERIES[number], lw=1, ls=("-", "--", ":")[number])
