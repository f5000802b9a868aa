"""Figures of rates with their intervals: data first, axes last and returned."""

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import PercentFormatter

from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none

_KINDS = (("tpr", "n_real", "real", "o"), ("fpr", "n_bogus", "bogus", "s"))
_MAX_NAMES = 12  # more stand as numbers


def rates(table, quantities, *, target_fpr, axes):
    """Draw TPR and FPR against what they may depend on, with 95% intervals.

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
        for ax, (rate, n_name, color, marker) in zip(
            axes[:, column], _KINDS, strict=True
        ):
            if not np.sum(some[n_name]):
                draw_none(ax, f"no {color}")
                continue
            _rate(some, rate, n_name, color=color, marker=marker, ax=ax)
        axes[1, column].set_xlabel(words)
    for ax in axes[1]:
        ax.axhline(target_fpr, color=COLORS["limit"], lw=1, ls=":", zorder=0)
        # A threshold at 1% must be seen beside an interval that reaches to 30%.
        ax.set_yscale("symlog", linthresh=target_fpr, linscale=0.6)
        ax.set_ylim(-0.15 * target_fpr, 1.2)
        ax.yaxis.set_major_locator(mpl.ticker.FixedLocator([0, 0.01, 0.1, 1]))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    for ax in axes[0]:
        ax.set_ylim(-0.03, 1.05)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_ylabel("TPR: real ones kept")
    axes[1, 0].set_ylabel("FPR: bogus kept")
    return axes


def _rate(table, rate, n_name, *, color, marker, ax):
    """Draw one rate against the bins, the number of candidates at each."""
    value = np.asarray(table[rate], float)
    known = np.isfinite(value)
    x = np.arange(len(table))
    spread = value - table[f"{rate}_low"], table[f"{rate}_high"] - value
    ax.errorbar(
        x[known],
        value[known],
        np.clip(np.array(spread)[:, known], 0, None),
        fmt=marker,
        color=COLORS[color],
        ms=5,
        capsize=2,
    )
    few = len(table) <= _MAX_NAMES
    names = [str(name) if few else str(i + 1) for i, name in enumerate(table["bin"])]
    step = max(len(table) // _MAX_NAMES, 1)
    if few:
        names = [f"{name} ({n})" for name, n in zip(names, table[n_name], strict=True)]
    ax.set_xticks(x[::step], names[::step], rotation=60 if few else 0, fontsize=8)
    if few:
        ax.set_xticks(x, names, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(table) - 0.4)


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
