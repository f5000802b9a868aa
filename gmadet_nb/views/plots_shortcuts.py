"""Figures of what a score may hang on besides the source: data first, ``ax`` last."""

import numpy as np
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from gmadet_nb.files.tables import as_floats
from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none, legend_above

_CHANGES = {
    "as_is": "as they are",
    "blank": "difference blanked",
    "shifted": "off center",
}
_EDGES = np.linspace(0, 1, 21)


def changed_scores(changed, *, threshold, ax):
    """Draw the networks' scores of real ones as they are, blanked, and off center.

    Parameters
    ----------
    changed : astropy.table.Table
        From `gmadet_nb.learning.changed.score_changed`.
    threshold : float
        On the score.
    """
    ax.set(xlabel="score of the networks alone", ylabel="real test candidates per bin")
    if not len(changed):
        return draw_none(ax, "no real test candidate")
    highest = 1
    for number, (name, words) in enumerate(_CHANGES.items()):
        n = np.histogram(np.clip(changed[name], 0, 1), _EDGES)[0]
        highest = max(highest, n.max())
        ax.stairs(n, _EDGES, color=SERIES[number], lw=3 - 0.7 * number, label=words)
    ax.axvline(threshold, color=COLORS["limit"], lw=1, ls=":", label="threshold")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, 2 * highest)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    legend_above(ax)
    return ax


def other_half(table, *, ax):
    """Draw how well each half of the S/N range is told apart by either training.

    Parameters
    ----------
    table : astropy.table.Table
        From `gmadet_nb.learning.other_half.judge_other_half`. The rates below are
        those at the threshold of the other half.
    """
    ax.set(ylabel="area under the ROC curve")
    ax.set_xlabel("judged; rates at the threshold of the other half")
    areas = np.array([as_floats(table[name]) for name in ("same", "other")])
    if not np.isfinite(areas).any():
        return draw_none(ax, "too few real and bogus to halve")
    x = np.arange(len(table))
    for number, (values, words) in enumerate(
        zip(areas, ("trained on the same half", "on the other half"), strict=True)
    ):
        ax.plot(
            x + 0.12 * (number - 0.5),
            values,
            MARKERS[number],
            color=SERIES[number],
            ms=9,
            label=words,
        )
    names = [
        f"{row['judged']} half ({row['n_real']} real)\n"
        f"TPR {row['tpr_value']:.3f}, FPR {row['fpr_value']:.3f}"
        for row in table
    ]
    ax.set_xticks(x, names)
    ax.set_xlim(-0.6, len(table) - 0.4)
    ax.set_ylim(min(0.9, np.nanmin(areas)) - 0.02, 1.01)
    legend_above(ax)
    return ax


def coverage(trained, wanted, *, ax):
    """Draw the S/N of real ones that trained, and of all that is scored.

    Parameters
    ----------
    trained, wanted : (n,), (m,) array
        S/N. The shade is between the 1st and the 99th percentile of the former.
    """
    ax.set(xlabel="S/N", ylabel="share per bin")
    if not len(trained):
        return draw_none(ax, "the model's folder lists no real ones")
    trained, wanted = (as_floats(values) for values in (trained, wanted))
    trained, wanted = (v[np.isfinite(v) & (v > 0)] for v in (trained, wanted))
    for values, what in ((trained, "real one that trained"), (wanted, "candidate")):
        if not len(values):
            return draw_none(ax, f"no {what} has an S/N")
    both = np.concatenate([trained, wanted])
    edges = np.geomspace(both.min(), both.max() * 1.001, 26)
    ax.axvspan(*np.percentile(trained, [1, 99]), color=COLORS["real"], alpha=0.12, lw=0)
    for values, words, color in (
        (trained, "real, training", COLORS["real"]),
        (wanted, "scored", COLORS["other"]),
    ):
        n = np.histogram(values, edges)[0] / len(values)
        ax.stairs(n, edges, color=color, lw=2, label=f"{len(values)} {words}")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    legend_above(ax)
    return ax
