"""Figures of how far a score can be trusted: data first, ``ax`` last and returned."""

from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gmadet_nb.learning.curves import precision_at
from gmadet_nb.views.plots_sheets import grey_and_missing
from gmadet_nb.views.stretch import stretch_triplets
from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none, legend_above

_DIVERGING = "RdBu"  # red speaks against, blue for; safe for the colour-blind
_NOTHING = 1e-3  # a logit that nothing hangs on


def precision_recall(curve, *, threshold, bogus_per_real, ax):
    """Draw precision against recall, here and in a stream, the threshold marked.

    Parameters
    ----------
    curve : astropy.table.Table
        From `gmadet_nb.learning.curves.over_thresholds`.
    threshold : float
        On the score.
    bogus_per_real : float
        Bogus candidates for each real one in the stream.
    """
    ax.set(xlabel="recall (TPR)", ylabel="precision: real among the kept")
    if not len(curve):
        return draw_none(ax, "no labelled candidate with a score")
    recall = np.asarray(curve["recall"])
    at = _at(curve, threshold)
    for values, label, color, line in (
        (np.asarray(curve["precision"]), "in this mixture", COLORS["real"], "-"),
        (
            precision_at(curve, bogus_per_real=bogus_per_real),
            f"{bogus_per_real:g} bogus a real",
            COLORS["bogus"],
            "--",
        ),
    ):
        ax.plot(recall, values, line, color=color, lw=2, label=label)
        if at is not None:
            mark = "at the threshold" if line == "-" else None
            ax.plot(recall[at], values[at], "D", color=COLORS["marker"], label=mark)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    legend_above(ax)
    return ax


def merit_by_threshold(curve, *, threshold, ax):
    """Draw F1 and Matthews' coefficient against the threshold.

    Parameters
    ----------
    curve : astropy.table.Table
        From `gmadet_nb.learning.curves.over_thresholds`.
    threshold : float
        On the score.
    """
    ax.set(xlabel="threshold on the score", ylabel="figure of merit", xlim=(0, 1))
    if not len(curve):
        return draw_none(ax, "no labelled candidate with a score")
    for name, text, color, line in (
        ("f1", "F1", SERIES[0], "-"),
        ("mcc", "Matthews' coefficient", SERIES[1], "--"),
    ):
        ax.step(
            curve["threshold"], curve[name], line, color=color, label=text, where="pre"
        )
    ax.axvline(threshold, color=COLORS["limit"], lw=1, ls=":", label="threshold")
    ax.set_ylim(-0.02, 1.02)
    legend_above(ax)
    return ax


def confusion_matrix(counts, *, ax):
    """Draw how many of each label are kept and refused.

    Parameters
    ----------
    counts : (2, 2) int array
        From `gmadet_nb.learning.curves.confusion`.
    """
    counts = np.asarray(counts)
    if not counts.sum():
        return draw_none(ax, "no labelled candidate")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, origin="upper")
    for (row, column), n in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.6 else "black"
        text = f"{n}\n{share[row, column]:.1%}"
        ax.text(column, row, text, ha="center", va="center", color=color)
    ax.set_xticks([0, 1], ["kept", "refused"])
    ax.set_yticks([0, 1], ["real", "bogus"])
    ax.tick_params(length=0)
    return ax


def learning_curve(curve, *, axes, why_not="too few candidates"):
    """Draw the TPR against the number of real and of bogus candidates.

    Parameters
    ----------
    curve : astropy.table.Table
        From `gmadet_nb.learning.learning_curve.learning_curve`.
    axes : two axes
    why_not : str
        What to say where there is no curve.
    """
    text = fill(why_not, 36)
    for ax, kind, marker in zip(axes, ("real", "bogus"), MARKERS, strict=False):
        some = curve[curve["varied"] == kind]
        ax.set(xlabel=f"{kind} candidates to train on", ylabel="TPR on the test part")
        if kind == "bogus":
            ax.set_xlabel("bogus candidates to train on (their share at the points)")
        if not len(some):
            draw_none(ax, "too few candidates" if len(curve) else text)
            continue
        tpr = np.asarray(some["tpr"])
        spread = tpr - some["low"], some["high"] - tpr
        ax.errorbar(
            some[f"n_{kind}"],
            tpr,
            np.abs(spread),
            fmt=f"{marker}-",
            color=COLORS[kind],
            capsize=2,
        )
        for row in some if kind == "bogus" else ():
            share = row["n_bogus"] / (row["n_real"] + row["n_bogus"])
            place = (row["n_bogus"], row["tpr"])
            ax.annotate(
                f"{share:.0%}", place, (5, -11), textcoords="offset points", fontsize=9
            )
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        ax.set_xticks(sorted(set(some[f"n_{kind}"].tolist())))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    return axes


def explanations(pixels, maps, captions, *, axes):
    """Draw differences, and over them what speaks for real (blue) and bogus (red).

    Parameters
    ----------
    pixels : (n, size, size, 3) array
        Cutouts [adu].
    maps : (n, size, size) array
        From `gmadet_nb.learning.explain.occlusion_map`.
    captions : sequence of n str
    axes : (2, n) array of axes
    """
    grey = stretch_triplets(np.asarray(pixels), "middle")[..., 2]
    for column, (image, shares, text) in enumerate(
        zip(grey, maps, captions, strict=True)
    ):
        above, below = axes[0, column], axes[1, column]
        above.imshow(image, cmap=grey_and_missing(), vmin=0, vmax=255)
        reach = max(np.abs(shares).max(), _NOTHING)
        below.imshow(shares, cmap=_DIVERGING, vmin=-reach, vmax=reach)
        above.set_title(text, fontsize=9)
        below.set_xlabel(f"± {reach:.2g}" if reach > _NOTHING else "none", fontsize=9)
        for ax in (above, below):
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("difference")
    axes[1, 0].set_ylabel("logit lost")
    return axes


def explanation_sheet(groups, *, why_none="no candidate to explain"):
    """Draw `explanations` of several groups under each other, on a figure of its own.

    Parameters
    ----------
    groups : list of (name, pixels, maps, captions)
        From `gmadet_nb.learning.check_explain.explain`.
    why_none : str
        What to say where there is no group.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n_columns = max((len(pixels) for _, pixels, _, _ in groups), default=1)
    rows = max(len(groups), 1)
    figure = Figure(figsize=(1.6 * n_columns + 0.8, 3.9 * rows), layout="constrained")
    parts = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    if not groups:
        draw_none(parts[0].subplots(), why_none)
    for part, (name, pixels, maps, captions) in zip(parts, groups, strict=False):
        axes = part.subplots(2, n_columns, squeeze=False)
        part.suptitle(name)
        for ax in axes[:, len(pixels) :].ravel():
            ax.axis("off")
        explanations(pixels, maps, captions, axes=axes)
        _for_and_against(part, axes)
    return figure


def auc_by_snr(table, *, ax):
    """Draw the area under the ROC curve within narrow ranges of S/N.

    Parameters
    ----------
    table : astropy.table.Table
        From `gmadet_nb.learning.shortcuts.auc_at_fixed_snr`.
    """
    ax.set(xlabel="S/N", ylabel="area under the ROC curve")
    good = np.isfinite(np.asarray(table["auc"], float))
    if not good.any():
        return draw_none(ax, "too few real and bogus of one S/N")
    some = table[good]
    middle = np.sqrt(np.asarray(some["snr_low"]) * np.asarray(some["snr_high"]))
    ax.plot(middle, some["auc"], "o-", color=COLORS["real"])
    ax.axhline(0.5, color=COLORS["limit"], lw=1, ls=":")
    ax.text(middle[0], 0.505, "chance", fontsize=9, va="bottom")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.set_ylim(0.45, 1.02)
    return ax


def _for_and_against(part, axes):
    """Draw the scale of explanation maps: each has its own reach, below it."""
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-1, 1), _DIVERGING)
    bar = part.colorbar(scale, ax=axes[1], shrink=0.9, aspect=12)
    bar.set_ticks([-1, 0, 1], labels=["- reach: bogus", "0", "+ reach: real"])
    bar.ax.tick_params(labelsize=8, length=0)


def _at(curve, threshold):
    """Return the last row whose candidates are kept; None where none are."""
    kept = np.flatnonzero(np.asarray(curve["threshold"]) >= threshold)
    return int(kept[-1]) if len(kept) else None
