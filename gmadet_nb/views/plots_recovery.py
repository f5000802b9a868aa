"""Figures of what was recovered of the injected sources: one function each."""

import numpy as np
from scipy.stats import norm

from gmadet_nb.files.tables import rows_of
from gmadet_nb.views.stretch import robust_sigma
from gmadet_nb.views.style import COLORS, MARKERS, SERIES, draw_none, legend_above


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
        if len(some) > len(MARKERS):
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
            fmt=MARKERS[series],
            ms=5,
            lw=1.1,
            color=SERIES[series],
            label=group,
        )
    for edge in sorted(set(known["bin_low"]) | set(known["bin_high"])):
        ax.axvline(edge, color="0.92", lw=0.8, zorder=0)
    legend_above(ax)
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


def recovered_position(crossmatch, candidates, sources, *, axes):
    """Draw recovered minus injected: position, flux, and both over their errors.

    The position's expected error in x and in y is sqrt(2) FWHM / (2.355 S/N), the
    least there can be for a Gaussian profile on the noise of the background (a
    bright source, with its own photons' noise, does better by up to sqrt(2)); the
    flux's is the candidate's own ``flux_err``. Right errors give the unit Gaussian.

    Parameters
    ----------
    crossmatch, candidates, sources : astropy.table.Table
        As in the run folder; joined by ``source_id`` and ``candidate_id``.
    axes : sequence of 3 Axes
    """
    found = join_matched(crossmatch, candidates, sources)
    axes[0].set(
        xlabel="recovered − injected x [pixel]", ylabel="recovered − injected y [pixel]"
    )
    axes[1].set(xlabel="injected magnitude [mag]", ylabel="recovered / injected flux")
    axes[2].set(xlabel="(recovered − injected) / its error", ylabel="density")
    if len(found) == 0:
        for ax in axes:
            draw_none(ax)
        return axes
    dx, dy = found["x"] - found["x_source"], found["y"] - found["y_source"]
    axes[0].scatter(dx, dy, s=10, alpha=0.6, color=COLORS["real"], lw=0)
    reach = 1.15 * max(np.percentile(np.hypot(dx, dy), 98), 1e-3)
    axes[0].set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes[0].axhline(0, color="0.5", lw=0.8)
    axes[0].axvline(0, color="0.5", lw=0.8)
    # Adding 0.0 makes of -0.0 a 0.0.
    middle = [round(float(np.median(values)), 3) + 0.0 for values in (dx, dy)]
    axes[0].set_title(f"median {middle[0]:.3f}, {middle[1]:.3f} pixel")
    ratio = found["flux"] / found["flux_source"]
    axes[1].scatter(
        found["mag_source"], ratio, s=10, alpha=0.6, color=COLORS["real"], lw=0
    )
    axes[1].axhline(1, color=COLORS["limit"], lw=1)
    reach = np.clip(1.1 * np.percentile(np.abs(ratio - 1), 98), 0.05, 2)
    axes[1].set(ylim=(1 - reach, 1 + reach))
    axes[1].set_title(f"median {np.median(ratio):.3f}")
    _pulls(found, dx, dy, ax=axes[2])
    return axes


def join_matched(crossmatch, candidates, sources):
    """Return one row a matched source: the candidate's columns and the source's.

    The source's ``x``, ``y``, ``mag`` and ``flux`` carry the ending ``_source``.
    """
    matched = crossmatch[np.asarray(crossmatch["match"]) == "matched"]
    rows = rows_of(matched["candidate_id"], candidates["candidate_id"])
    found = candidates[rows]
    origin = sources[rows_of(matched["source_id"], sources["source_id"])]
    for name in ("x", "y", "mag", "flux"):
        found[f"{name}_source"] = origin[name]
    return found


def _pulls(found, dx, dy, *, ax):
    fwhm = np.asarray(found["psf_fwhm"], dtype=float)
    error = np.sqrt(2) * fwhm / (2.355 * np.asarray(found["snr"], dtype=float))
    flux = (found["flux"] - found["flux_source"]) / found["flux_err"]
    edges = np.linspace(-5, 5, 26)
    both = np.concatenate([np.asarray(dx) / error, np.asarray(dy) / error])
    for values, color, name, width in (
        (both, COLORS["real"], "position", 2.4),
        (np.asarray(flux), COLORS["bogus"], "flux", 1.4),
    ):
        ax.hist(
            np.clip(values, edges[0], edges[-1]),
            bins=edges,
            density=True,
            histtype="step",
            lw=width,
            color=color,
            label=f"{name}, width {robust_sigma(values):.2f}",
        )
    fine = np.linspace(-5, 5, 201)
    gaussian = np.exp(-0.5 * fine**2) / np.sqrt(2 * np.pi)
    ax.plot(fine, gaussian, color=COLORS["limit"], lw=1, label="unit Gaussian")
    ax.set(xlim=(-5, 5), ylim=(0, 1.45 * ax.dataLim.ymax))
    ax.legend(loc="upper center", ncols=2, fontsize=8.5)


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
