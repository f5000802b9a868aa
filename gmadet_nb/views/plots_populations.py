"""Figures of injected sources beside those of the sky: data first, axes last."""

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import PercentFormatter

from gmadet_nb.files.tables import as_floats
from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none

_LOGARITHMIC = ("snr",)
_MAX_BINS = 25


def kept(table, *, ax):
    """Draw what is kept of each population, on galaxies and off them.

    Parameters
    ----------
    table : astropy.table.Table
        From `gmadet_nb.learning.check_populations.populations`; the first population
        is the one that the others are held against.
    """
    ax.set(xlabel="kept by the classifier, S/N above 10")
    if not len(table):
        return draw_none(ax, "no real source with an S/N above 10")
    names = list(dict.fromkeys(str(name) for name in table["population"]))
    y = np.arange(len(table))
    for number, name in enumerate(names):
        some = np.asarray(table["population"]) == name
        share = np.asarray(table["kept"])[some]
        spread = share - table["low"][some], table["high"][some] - share
        ax.errorbar(
            share,
            y[some],
            xerr=np.clip(spread, 0, None),
            fmt=MARKERS[number % len(MARKERS)],
            color=SERIES[number % len(SERIES)],
            capsize=3,
        )
    labels = [f"{row['population']}, {row['place']} ({row['n']})" for row in table]
    ax.set_yticks(y, labels)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(min(0.8, float(np.min(table["low"]))) - 0.02, 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(axis="y", color="0.9")
    return ax


def shift(first, second, table, words, *, names, axes):
    """Draw the distributions of two samples, one panel a quantity.

    Parameters
    ----------
    first, second : astropy.table.Table
        The samples.
    table : astropy.table.Table
        From `gmadet_nb.learning.domain_shift.compare_samples`: ``delta`` of each.
    words : dict
        Column -> its name.
    names : two of str
        Of the samples.
    axes : one an entry of ``words``
    """
    delta = dict(zip(table["column"], table["delta"], strict=True))
    for ax, (column, text) in zip(axes, words.items(), strict=True):
        ax.set(xlabel=text, ylabel="share per bin")
        values = [as_floats(some[column]) for some in (first, second)]
        values = [some[np.isfinite(some)] for some in values]
        if not min(map(len, values)):
            draw_none(ax, "none to compare")
            continue
        both = np.concatenate(values)
        low, high = np.percentile(both, [0.5, 99.5])
        space = np.geomspace if column in _LOGARITHMIC else np.linspace
        # About as many as a sample's root: a few objects in many bins are a comb.
        n_bins = int(np.clip(2 * np.sqrt(min(map(len, values))), 4, _MAX_BINS))
        edges = space(low, high if high > low else low + 1, n_bins + 1)
        for some, name, color, width in zip(
            values, names, ("real", "other"), (1.8, 2.8), strict=True
        ):
            n = np.histogram(np.clip(some, edges[0], edges[-1]), edges)[0] / len(some)
            label = f"{name} ({len(some)})"
            ax.stairs(n, edges, color=COLORS[color], lw=width, label=label)
        if column in _LOGARITHMIC:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
        effect = delta[column]
        ax.set_title(
            f"Cliff's delta {effect:+.2f}" if np.isfinite(effect) else "too few to test"
        )
    if axes[0].get_legend_handles_labels()[1]:
        axes[0].legend(loc="best", fontsize=8.5)
    return axes
