"""Figures of the two check notebooks: completeness, and what the model does."""

from itertools import pairwise

import numpy as np
from scipy.stats import norm

from gmadet_nb.learning.completeness import binomial_interval
from gmadet_nb.views.plots import COLORS, SERIES, draw_none

_SCORE_EDGES = np.linspace(0, 1, 41)
_MARKERS = ("o", "s", "^", "D", "v", "P")


def completeness_curve(table, *, ax, fit=None):
    """Draw the recovered fraction against magnitude or S/N, with 95 % intervals.

    Parameters
    ----------
    table : astropy.table.Table
        ``axis`` ("mag" or "snr", one for all), ``bin_low``, ``bin_high``,
        ``completeness``, ``low``, ``high``. Bins without a source are left out.
    fit : astropy.table.Row, optional
        ``m50``, ``m50_err``, ``width``, ``plateau``, ``reason``: the curve and a
        line at m50, or the reason why there is none. Only against magnitude.
    """
    on_snr = len(table) > 0 and table["axis"][0] == "snr"
    ax.set(
        xlabel="injected S/N on the difference"
        if on_snr
        else "injected magnitude [mag]",
        ylabel="recovered / injected",
        ylim=(-0.03, 1.05),
    )
    known = table[np.isfinite(np.asarray(table["completeness"], float))]
    if len(known) == 0:
        return draw_none(ax, "no injected sources")
    low, high = np.asarray(known["bin_low"]), np.asarray(known["bin_high"])
    middle = np.sqrt(low * high) if on_snr else (low + high) / 2
    if on_snr:
        ax.set_xscale("log")
    fraction = np.asarray(known["completeness"])
    ax.errorbar(
        middle,
        fraction,
        yerr=_errors(known, fraction),
        xerr=[middle - low, high - middle],
        fmt="o",
        ms=6,
        lw=1.2,
        capsize=2,
        color=COLORS["real"],
        label="recovered, 95 % interval",
    )
    if fit is not None and np.isfinite(fit["m50"]):
        _draw_fit(fit, low[0], high[-1], ax=ax)
    elif fit is not None:
        ax.annotate(
            f"no m50: {fit['reason']}",
            (0.03, 0.2),
            fontsize=9,
            xycoords="axes fraction",
            wrap=True,
        )
    ax.legend(loc="lower left" if not on_snr else "lower right")
    return ax


def completeness_groups(table, groups, *, ax):
    """Draw the completeness of several groups on one ``ax``.

    Up to six stand side by side in each bin, with their intervals; more are one
    thin line each, as intervals would hide one another.

    Parameters
    ----------
    table : astropy.table.Table
        As for `completeness_curve`, of one ``axis``, with ``group``.
    groups : sequence of str
        The groups to draw, in this order.
    """
    known = table[np.isfinite(np.asarray(table["completeness"], float))]
    which = np.asarray(known["group"]).astype(str)
    some = {group: known[which == group] for group in groups}
    some = {group: rows for group, rows in some.items() if len(rows)}
    ax.set(ylabel="recovered / injected", ylim=(-0.03, 1.05))
    ax.set_xlabel("injected magnitude [mag]")
    if not some:
        return draw_none(ax, "none to compare")
    for series, (group, rows) in enumerate(some.items()):
        low, high = np.asarray(rows["bin_low"]), np.asarray(rows["bin_high"])
        fraction = np.asarray(rows["completeness"])
        if len(some) > len(_MARKERS):
            label = f"{len(some)} exposures, a line each" if series == 0 else None
            ax.plot(
                (low + high) / 2,
                fraction,
                color=COLORS["real"],
                lw=1,
                alpha=0.5,
                label=label,
            )
            continue
        share = (series + 1) / (len(some) + 1)
        ax.errorbar(
            low + share * (high - low),
            fraction,
            yerr=_errors(rows, fraction),
            fmt=_MARKERS[series],
            ms=5,
            lw=1.1,
            color=SERIES[series],
            label=group,
        )
    for edge in sorted(set(known["bin_low"]) | set(known["bin_high"])):
        ax.axvline(edge, color="0.92", lw=0.8, zorder=0)
    _legend_above(ax)
    return ax


def injected_and_detected(sources, *, ax, n_bins=30):
    """Draw the magnitudes of all injected sources and of the recovered ones.

    Parameters
    ----------
    sources : astropy.table.Table
        ``mag`` [mag] and ``recovered``.
    """
    ax.set(xlabel="injected magnitude [mag]", ylabel="sources per bin")
    if len(sources) == 0:
        return draw_none(ax, "no injected sources")
    mags = np.asarray(sources["mag"], float)
    found = np.asarray(sources["recovered"], bool)
    edges = np.linspace(mags.min(), max(mags.max(), mags.min() + 0.1), n_bins + 1)
    for values, name, style in (
        (mags, "injected", {"color": COLORS["limit"], "lw": 1.4}),
        (
            mags[found],
            "recovered",
            {"color": COLORS["real"], "fill": True, "alpha": 0.55},
        ),
    ):
        counts, _ = np.histogram(values, bins=edges)
        ax.stairs(counts, edges, label=f"{len(values)} {name}", **style)
    ax.set_ylim(0, 1.25 * ax.get_ylim()[1])
    ax.legend(loc="upper left", ncols=2)
    return ax


def fraction_per_exposure(table, *, ax, goal=None):
    """Draw a fraction of each exposure with its interval, one row an exposure.

    Parameters
    ----------
    table : astropy.table.Table
        ``exposure_id``, ``n``, ``fraction``, ``low``, ``high``.
    goal : float, optional
        Drawn as a line.
    """
    names = [str(name) for name in table["exposure_id"]]
    ax.set(xlabel="recovered / injected", xlim=(-0.03, 1.06))
    if not names or not np.isfinite(np.asarray(table["fraction"], float)).any():
        return draw_none(ax, "no bright injected source")
    rows = np.arange(len(names))
    fraction = np.asarray(table["fraction"], float)
    ax.errorbar(
        fraction,
        rows,
        xerr=_errors(table, fraction),
        fmt="o",
        ms=6,
        capsize=2,
        lw=1.2,
        color=COLORS["real"],
    )
    size = 9 if len(names) < 20 else 7
    labels = [f"{name} ({n})" for name, n in zip(names, table["n"], strict=True)]
    step = -(-len(names) // 40)
    ax.set_yticks(rows[::step], labels[::step], fontsize=size)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", color="0.9")
    if goal is not None:
        ax.axvline(goal, color=COLORS["limit"], ls="--", lw=1.2)
    ax.set_title("95 % intervals; number of sources in brackets", fontsize=10)
    return ax


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
    ax.set(
        xlabel="injected magnitude [mag]", ylabel="fraction kept", ylim=(-0.03, 1.05)
    )
    if len(scores) == 0:
        return draw_none(ax, "no injected sources")
    ranges = _ranges(mags, mag_bins, "")
    step = 0.6 / max(len(score_bins), 1)
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
            fmt=_MARKERS[series % 6],
            ms=7,
            capsize=3,
            lw=1.4,
            color=SERIES[series % len(SERIES)],
            label=f"score ≥ {limit:g}",
        )
    names = [f"{name}\n({rows.sum()})" for name, rows in ranges]
    ax.set_xticks(range(len(ranges)), names)
    ax.set_xlim(-0.5, len(ranges) - 0.5)
    _legend_above(ax)
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
            _MARKERS[drawn],
            color=color,
            ms=9,
            mec="white",
            label=None if drawn else f"at the threshold {threshold:.3f}",
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
        return draw_none(ax, "no scored candidate")
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
    _legend_above(ax)
    return ax


def truth_ranks(found, n_candidates, *, n_kept, ax):
    """Draw at which ranks the known transients stand in the candidate list.

    The step line counts those at or above a rank; the ticks at its foot are the
    single ones. A perfect list has all of them at the first ranks (dotted).

    Parameters
    ----------
    found : astropy.table.Table
        ``detected``, ``rank``: as `check_inference.find_truth` gives it.
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
    _legend_above(ax)
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


def _errors(table, fraction):
    """Return the lengths of the error bars below and above the fractions."""
    below = fraction - np.asarray(table["low"])
    above = np.asarray(table["high"]) - fraction
    # Rounding may leave an error of -1e-17, which matplotlib refuses.
    return np.clip([below, above], 0, None)


def _draw_fit(fit, low, high, *, ax):
    fine = np.linspace(low, high, 301)
    curve = fit["plateau"] * norm.sf((fine - fit["m50"]) / fit["width"])
    ax.plot(fine, curve, color=COLORS["fit"], lw=1.8, label="fit")
    error = f" ± {fit['m50_err']:.2f}" if np.isfinite(fit["m50_err"]) else ""
    label = f"m50 {fit['m50']:.2f}{error}"
    ax.axvline(fit["m50"], color=COLORS["limit"], ls="--", lw=1.2, label=label)


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
    columns = [
        np.ma.filled(np.ma.asarray(column, dtype=float), np.nan) for column in columns
    ]
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


def _log_counts(ax):
    """Set a logarithmic number axis that shows bins of one, and the legend above."""
    ax.set_yscale("log")
    ax.set_ylim(0.6, max(1.5 * ax.dataLim.ymax, 10))
    _legend_above(ax)


def _legend_above(ax):
    """Put the legend over the axes, where it hides nothing."""
    labels = ax.get_legend_handles_labels()[1]
    # About 60 letters, with a handle of some 5 each, are as wide as a panel.
    wide = sum(len(label) + 5 for label in labels) > 60
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2 if wide and len(labels) < 5 else 3,
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1.2,
    )
