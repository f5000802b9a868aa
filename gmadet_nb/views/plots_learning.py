"""Figures of the data set and of the training: data first, ``ax`` last and returned."""

import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from gmadet_nb.views.plots import COLORS, draw_none

KINDS = ("real", "bogus")


def parts(counts, *, ax):
    """Draw how many real and bogus candidates each part of the split uses.

    Parameters
    ----------
    counts : astropy.table.Table
        ``part``, ``n_real``, ``n_bogus``: as `dataset.count_parts` gives it.
    ax : matplotlib.axes.Axes
    """
    x = np.arange(len(counts))
    for i, kind in enumerate(KINDS):
        n = np.asarray(counts[f"n_{kind}"])
        bars = ax.bar(x + 0.4 * (i - 0.5), n, 0.38, color=COLORS[kind], label=kind)
        ax.bar_label(bars, fontsize=9, padding=2)
    ax.set_xticks(x, list(counts["part"]))
    ax.set_ylabel("candidates used")
    ax.margins(y=0.12)
    ax.legend()
    return ax


def snr_by_label(labels, snr, *, ax):
    """Draw the S/N of the real and of the bogus candidates, counts logarithmic.

    Parameters
    ----------
    labels : (n,) array of str
        "real" or "bogus".
    snr : (n,) array
        On the difference.
    ax : matplotlib.axes.Axes
    """
    labels, snr = np.asarray(labels).astype(str), np.asarray(snr, float)
    good = np.isfinite(snr) & (snr > 0)
    ax.set(xlabel="S/N on the difference", ylabel="candidates per bin")
    if not good.any():
        return draw_none(ax, "no candidate with an S/N")
    edges = np.geomspace(snr[good].min(), snr[good].max() * 1.001, 31)
    _two_histograms(labels[good], snr[good], edges, ax=ax)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return ax


def history(table, *, axes):
    """Draw loss and area under the ROC curve against the epoch, one line a fold.

    Parameters
    ----------
    table : astropy.table.Table
        ``fold``, ``epoch``, ``loss``, ``val_loss``, ``auc``, ``val_auc``, ``best``: as
        `gmadet_nb.learning.fused.fit_fused` gives it.
    axes : two matplotlib.axes.Axes
        One for the loss, one for the area; returned.
    """
    titles = {"loss": "loss (cross-entropy)", "auc": "area under the ROC curve"}
    lines = {"": ("training", "other"), "val_": ("validation", "real")}
    folds = np.unique(table["fold"])
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        for prefix, (label, color) in lines.items():
            for k in folds:
                some = table[table["fold"] == k]
                values = np.asarray(some[prefix + name], float)
                if not np.isfinite(values).any():
                    continue
                style = {"color": COLORS[color], "lw": 1.2, "alpha": 0.8}
                words = label if k == folds[0] else None
                ax.plot(some["epoch"], values, label=words, **style)
                best = np.asarray(some["best"], bool)
                ax.plot(some["epoch"][best], values[best], "o", ms=5, **style)
        ax.set(xlabel="epoch (dots: the one kept)", ylabel=title)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_yscale("log")
    axes[0].legend()
    return axes


def scores_by_label(labels, scores, *, threshold, ax):
    """Draw the scores of real and of bogus candidates, counts logarithmic.

    Parameters
    ----------
    labels : (n,) array of str
        "real" or "bogus".
    scores : (n,) array
        P(real); NaN left out.
    threshold : float
        Drawn as a line.
    ax : matplotlib.axes.Axes
    """
    labels, scores = np.asarray(labels).astype(str), np.asarray(scores, float)
    good = np.isfinite(scores)
    ax.set(xlabel="score", ylabel="candidates per bin", xlim=(-0.02, 1.02))
    if not good.any():
        return draw_none(ax, "no scored candidate")
    _two_histograms(labels[good], scores[good], np.linspace(0, 1, 41), ax=ax)
    ax.axvline(
        threshold,
        color=COLORS["limit"],
        ls="--",
        lw=1.2,
        label=f"threshold {threshold:.3f}",
    )
    ax.legend(loc="upper center")
    return ax


def reliability(table, *, ax):
    """Draw the share of real candidates against the mean score, in bins of score.

    Parameters
    ----------
    table : astropy.table.Table
        ``mean_score``, ``real_fraction``, ``low``, ``high``, ``n``: as
        `evaluate.reliability` gives it. Empty bins are left out. There is no legend,
        which could only hide points: the line is where scores are probabilities.
    ax : matplotlib.axes.Axes
    """
    some = table[np.asarray(table["n"]) > 0]
    ax.set(xlabel="mean score", ylabel="share that is real (bars: 95 % interval)")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.plot([0, 1], [0, 1], color=COLORS["other"], lw=1)
    if not len(some):
        return draw_none(ax, "no scored candidate")
    share = np.asarray(some["real_fraction"])
    error = [share - np.asarray(some["low"]), np.asarray(some["high"]) - share]
    ax.errorbar(
        some["mean_score"],
        share,
        yerr=np.maximum(error, 0),
        fmt="o",
        color=COLORS["real"],
        capsize=2,
    )
    for x, y, n in zip(some["mean_score"], share, some["n"], strict=True):
        ax.annotate(str(n), (x, y), (5, 4), textcoords="offset points", fontsize=8)
    return ax


def _two_histograms(labels, values, edges, *, ax):
    """Draw one histogram a kind; the scale is linear from 0 to 1, then logarithmic."""
    highest = 1
    for kind, width in zip(KINDS, (1.8, 2.6), strict=True):
        n = np.histogram(values[labels == kind], edges)[0]
        ax.stairs(n, edges, color=COLORS[kind], lw=width, label=f"{n.sum()} {kind}")
        highest = max(highest, n.max())
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(0, 2 * highest)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
