"""Figures of what the model does: gmadet's six and ours, one function each."""

from itertools import pairwise

import numpy as np

from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning.completeness import binomial_interval
from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none, legend_above

_SCORE_EDGES = np.linspace(0, 1, 41)


def scores_by_magnitude(scores, mags, *, mag_bins, ax):
    """Draw the scores of injected sources, one line a range of magnitude.

    Parameters
    ----------
    scores, mags : (n,) array
        Score and injected magnitude [mag] of each.
    mag_bins : sequence of float
        Limits of the ranges; those beyond its ends are ranges too.
    """
    scores, mags = _finite(scores, mags)
    ax.set(xlabel="score", ylabel="injected sources per bin", xlim=(-0.02, 1.02))
    if len(scores) == 0:
        return draw_none(ax, "no injected sources")
    for series, (name, rows) in enumerate(_ranges(mags, mag_bins, "mag")):
        _draw_series(scores[rows], _SCORE_EDGES, series, name, ax=ax)
    _log_counts(ax)
    return ax


def score_histogram(scores, *, threshold, ax):
    """Draw the scores of all candidates, the number in a logarithmic scale."""
    (scores,) = _finite(scores)
    ax.set(xlabel="score", ylabel="candidates per bin", xlim=(-0.02, 1.02))
    if len(scores) == 0:
        return draw_none(ax, "no scored candidate")
    counts, _ = np.histogram(scores, bins=_SCORE_EDGES)
    ax.stairs(
        counts,
        _SCORE_EDGES,
        fill=True,
        color=COLORS["other"],
        label=f"{len(scores)} candidates",
    )
    _draw_threshold(threshold, ax=ax)
    _log_counts(ax)
    return ax


def scores_injected_and_rest(scores, injected, *, threshold, ax):
    """Draw the scores of injected sources against those of all other candidates.

    The rest are mostly bogus, but the sky's own transients are among them.
    """
    scores, injected = _finite(scores, np.asarray(injected, float))
    ax.set(xlabel="score", ylabel="candidates per bin", xlim=(-0.02, 1.02))
    if len(scores) == 0:
        return draw_none(ax, "no scored candidate")
    for rows, name, color, width in (
        (injected == 0, "the rest", COLORS["bogus"], 2.6),
        (injected > 0, "injected", COLORS["real"], 1.6),
    ):
        counts, _ = np.histogram(scores[rows], bins=_SCORE_EDGES)
        if rows.any():
            ax.stairs(
                counts,
                _SCORE_EDGES,
                color=color,
                lw=width,
                label=f"{rows.sum()} {name}",
            )
    _draw_threshold(threshold, ax=ax)
    _log_counts(ax)
    return ax


def kept_by_magnitude(scores, mags, *, mag_bins, score_bins, ax):
    """Draw which fraction of the injected sources passes each score, per magnitude.

    Parameters
    ----------
    score_bins : sequence of float
        Scores to pass, each a series of points with 95 % intervals.
    """
    scores, mags = _finite(scores, mags)
    ax.set(xlabel="injected magnitude [mag]", ylabel="fraction kept")
    if len(scores) == 0:
        return draw_none(ax, "no injected sources")
    ranges = _ranges(mags, mag_bins, "")
    step, lowest = 0.6 / max(len(score_bins), 1), 0.8
    for series, limit in enumerate(score_bins):
        n = np.array([rows.sum() for _, rows in ranges])
        k = np.array([(rows & (scores >= limit)).sum() for _, rows in ranges])
        low, high = binomial_interval(k, n)
        place = np.arange(len(ranges)) + step * (series - (len(score_bins) - 1) / 2)
        error = np.clip([k / n - low, high - k / n], 0, None)
        ax.errorbar(
            place,
            k / n,
            yerr=error,
            fmt=MARKERS[series % 6],
            ms=7,
            capsize=3,
            lw=1.4,
            color=SERIES[series % len(SERIES)],
            label=f"score ≥ {limit:g}",
        )
        lowest = min(lowest, float(np.min(low)))
    names = [f"{name}\n({rows.sum()})" for name, rows in ranges]
    ax.set_xticks(range(len(ranges)), names)
    ax.set(xlim=(-0.5, len(ranges) - 0.5), ylim=(lowest - 0.02, 1.02))
    legend_above(ax)
    return ax


def fwhm_ratio_by_score(ratios, scores, *, score_bins, ax):
    """Draw FWHM / FWHM of the PSF of injected sources, one line a range of score."""
    ratios, scores = _finite(ratios, scores)
    ax.set(xlabel="FWHM / FWHM of the PSF", ylabel="injected sources per bin")
    if len(ratios) == 0:
        return draw_none(ax, "no injected sources")
    edges = _ratio_edges(ratios)
    for series, (name, rows) in enumerate(_ranges(scores, score_bins, "score")):
        _draw_series(np.clip(ratios[rows], 0, edges[-1]), edges, series, name, ax=ax)
    _say_wider(ratios, edges, ax=ax)
    _log_counts(ax)
    return ax


def fwhm_ratio_injected_and_rest(
    ratios, injected, *, fwhm_ratio_min, fwhm_ratio_max, ax
):
    """Draw FWHM / FWHM of the PSF of the injected against the rest, with the cuts."""
    ratios, injected = _finite(ratios, np.asarray(injected, float))
    ax.set(xlabel="FWHM / FWHM of the PSF", ylabel="candidates per bin")
    if len(ratios) == 0:
        return draw_none(ax, "no candidate with a FWHM")
    edges = _ratio_edges(ratios, at_least=1.15 * fwhm_ratio_max)
    for rows, name, color, width in (
        (injected == 0, "the rest", COLORS["bogus"], 2.6),
        (injected > 0, "injected", COLORS["real"], 1.6),
    ):
        counts, _ = np.histogram(np.clip(ratios[rows], 0, edges[-1]), bins=edges)
        if rows.any():
            ax.stairs(
                counts, edges, color=color, lw=width, label=f"{rows.sum()} {name}"
            )
    cuts = f"cuts {fwhm_ratio_min:g} and {fwhm_ratio_max:g}"
    for cut, label in ((fwhm_ratio_min, cuts), (fwhm_ratio_max, None)):
        ax.axvline(cut, color=COLORS["limit"], ls="--", lw=1.3, label=label)
    _say_wider(ratios, edges, ax=ax)
    _log_counts(ax)
    return ax


def roc(curves, *, threshold, target_fpr, ax):
    """Draw true-positive against false-positive rate, with the threshold marked.

    Parameters
    ----------
    curves : dict
        Name -> table of `gmadet_nb.learning.evaluate.roc`: ``threshold``, ``fpr``,
        ``tpr``. One without real or without bogus is left out.
    """
    ax.set(
        xlabel="false-positive rate", ylabel="true-positive rate", ylim=(-0.02, 1.03)
    )
    drawn = 0
    smallest = target_fpr
    for name, curve in curves.items():
        fpr, tpr = np.asarray(curve["fpr"]), np.asarray(curve["tpr"])
        if not (np.isfinite(fpr).all() and np.isfinite(tpr).all()) or len(fpr) < 2:
            continue
        color = SERIES[drawn % len(SERIES)]
        ax.plot(
            fpr,
            tpr,
            drawstyle="steps-post",
            color=color,
            lw=2.4 - 0.9 * drawn,
            label=name,
        )
        at = np.flatnonzero(np.asarray(curve["threshold"]) >= threshold)[-1]
        ax.plot(
            fpr[at],
            tpr[at],
            MARKERS[drawn],
            color=color,
            ms=9,
            mec="white",
            label=f"the same, {name}" if drawn else f"at the threshold {threshold:.3f}",
            clip_on=False,
            zorder=4,
        )
        smallest = min(smallest, fpr[fpr > 0].min(initial=1.0))
        drawn += 1
    if drawn == 0:
        return draw_none(ax, "no labelled test candidates of both kinds")
    ax.axvline(target_fpr, color=COLORS["limit"], ls="--", lw=1.2, label="wanted rate")
    # Linear below the smallest rate there is, so that 0 is on the axis too.
    ax.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    ax.set_xlim(-0.1 * smallest, 1.1)
    ax.legend(loc="lower right")
    return ax


def score_against_snr(snr, scores, labels, *, threshold, ax):
    """Draw the score against the S/N, by label; "" is not labelled."""
    snr, scores = np.asarray(snr, float), np.asarray(scores, float)
    labels = np.asarray(labels).astype(str)
    good = np.isfinite(snr) & np.isfinite(scores) & (snr > 0)
    ax.set(xlabel="S/N on the difference", ylabel="score", ylim=(-0.04, 1.04))
    if not good.any():
        some = np.isfinite(scores).any()
        return draw_none(ax, f"no {'S/N is known' if some else 'scored candidate'}")
    ax.set_xscale("log")
    for label, name, color, marker in (
        ("", "not labelled", COLORS["other"], "o"),
        ("bogus", "bogus", COLORS["bogus"], "x"),
        ("real", "real", COLORS["real"], "o"),
    ):
        rows = good & (labels == label)
        if rows.any():
            ax.scatter(
                snr[rows],
                scores[rows],
                marker=marker,
                s=24 if label else 9,
                alpha=0.65,
                color=color,
                lw=1.2 if marker == "x" else 0,
                label=f"{rows.sum()} {name}",
            )
    _draw_threshold(threshold, ax=ax, horizontal=True)
    legend_above(ax)
    return ax


def truth_ranks(found, n_candidates, *, n_kept, ax):
    """Draw at which ranks the known transients stand in the candidate list.

    The step line counts those at or above a rank; the ticks at its foot are the
    single ones. A perfect list has all of them at the first ranks (dotted).

    Parameters
    ----------
    found : astropy.table.Table
        ``detected``, ``rank``: as `check_truth.find_truth` gives it.
    """
    detected = np.asarray(found["detected"], bool)
    ranks = np.sort(np.asarray(found["rank"], int)[detected])
    ax.set(xlabel="rank by score", ylabel="known transients so far")
    if len(found) == 0:
        return draw_none(ax, "no table of known transients given")
    if len(ranks) == 0:
        return draw_none(ax, f"none of {len(found)} known transients was detected")
    end = max(n_candidates, 2)
    x = np.concatenate([[0.8], ranks, [end]])
    y = np.concatenate([[0], np.arange(1, len(ranks) + 1), [len(ranks)]])
    ax.step(x, y, where="post", color=COLORS["real"], lw=2, label="by score")
    ax.plot(
        ranks,
        np.full(len(ranks), -0.035 * len(found)),
        "|",
        ms=11,
        mew=1.6,
        color=COLORS["real"],
    )
    ideal = np.arange(1, len(ranks) + 1)
    ax.step(
        np.append(ideal, end),
        np.append(ideal, len(ranks)),
        where="post",
        color=COLORS["other"],
        ls=":",
        lw=1.6,
        label="perfect list",
    )
    ax.axhline(len(found), color=COLORS["limit"], lw=1)
    ax.annotate(
        f"{len(found)} on these exposures, {len(ranks)} detected",
        (0.02, len(found)),
        xycoords=("axes fraction", "data"),
        ha="left",
        va="bottom",
        fontsize=9.5,
    )
    ax.axvline(
        n_kept + 0.5, color=COLORS["bogus"], ls="--", lw=1.4, label=f"{n_kept} kept"
    )
    ax.set(
        xscale="log",
        xlim=(0.8, 1.15 * end),
        ylim=(-0.08 * len(found), 1.12 * len(found)),
    )
    legend_above(ax)
    return ax


def _draw_series(values, edges, series, name, *, ax):
    """Draw one histogram of several, each thinner than those it is drawn over."""
    counts, _ = np.histogram(values, bins=edges)
    ax.stairs(
        counts,
        edges,
        color=SERIES[series % len(SERIES)],
        lw=3.2 - 0.8 * min(series, 3),
        label=f"{name} ({len(values)})",
    )


def _draw_threshold(threshold, *, ax, horizontal=False):
    line = ax.axhline if horizontal else ax.axvline
    line(
        threshold,
        color=COLORS["limit"],
        ls="--",
        lw=1.3,
        label=f"threshold {threshold:.3f}",
    )


def _finite(*columns):
    """Return the rows whose values are all finite."""
    columns = [as_floats(column) for column in columns]
    good = np.all([np.isfinite(column) for column in columns], axis=0)
    return [column[good] for column in columns]


def _ranges(values, limits, word):
    """Return (name, row mask) of the ranges between limits and beyond, if not empty."""
    edges = [-np.inf, *sorted(limits), np.inf]
    ranges = []
    for low, high in pairwise(edges):
        rows = (values >= low) & (values < high)
        if not rows.any():
            continue
        if np.isinf(low):
            name = f"< {high:g}"
        elif np.isinf(high):
            name = f"≥ {low:g}"
        else:
            name = f"{low:g} to {high:g}"
        ranges.append((f"{word} {name}".strip(), rows))
    return ranges


def _ratio_edges(ratios, *, at_least=3.0):
    """Return 60 bins that end where 99 % do, at 20 at most; the last holds the rest."""
    end = min(float(np.percentile(ratios, 99)), 20.0)
    return np.linspace(0, max(end, at_least), 61)


def _say_wider(ratios, edges, *, ax):
    """Say how many of the last bin are beyond the axis."""
    n = int(np.sum(ratios > edges[-1]))
    if n:
        ax.set_xlabel(f"{ax.get_xlabel()} (last bin: {n} above {edges[-1]:.2g}, too)")


def _log_counts(ax):
    """Set a logarithmic number axis that shows bins of one, and the legend above."""
    ax.set_yscale("log")
    ax.set_ylim(0.6, max(1.5 * ax.dataLim.ymax, 10))
    legend_above(ax)
