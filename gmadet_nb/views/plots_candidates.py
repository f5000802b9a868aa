"""Figures of what was injected and of what was found: one function each."""

import numpy as np
from matplotlib.ticker import NullFormatter, ScalarFormatter

from gmadet_nb.views.plots import COLORS, draw_none


def drawn_sources(sources, *, axes):
    """Draw the distributions of S/N and magnitude of the injected sources.

    Parameters
    ----------
    sources : astropy.table.Table
        ``snr``, ``mag`` [mag], ``near_galaxy``.
    axes : sequence of two matplotlib.axes.Axes
    """
    near = np.asarray(sources["near_galaxy"], dtype=bool)
    snr = np.asarray(sources["snr"], dtype=float)
    mag = np.asarray(sources["mag"], dtype=float)
    good = np.isfinite(snr) & (snr > 0) & np.isfinite(mag)
    if not good.any():
        return [draw_none(ax) for ax in axes]
    edges = np.geomspace(snr[good].min() * 0.999, snr[good].max() * 1.001, 25)
    bins = np.linspace(mag[good].min(), mag[good].max(), 25)
    for ax, values, limits in ((axes[0], snr, edges), (axes[1], mag, bins)):
        parts = [values[good & ~near], values[good & near]]
        names = ["on plain sky", "on a galaxy"]
        colors = [COLORS["real"], COLORS["fit"]]
        shown = [k for k in range(2) if len(parts[k])]
        ax.hist(
            [parts[k] for k in shown],
            bins=limits,
            stacked=True,
            color=[colors[k] for k in shown],
            label=[names[k] for k in shown],
        )
        ax.set_ylabel("injected sources")
    axes[0].set(xscale="log", xlabel="S/N on the exposure")
    axes[1].set_xlabel("magnitude [mag]")
    axes[1].legend(loc="best")
    return axes


def candidate_numbers(candidates, *, axes):
    """Draw two numbers that tell point sources from the rest, against S/N.

    Parameters
    ----------
    candidates : astropy.table.Table
        ``snr``, ``psf_chi2``, ``fwhm``, ``psf_fwhm`` [pixel].
    axes : sequence of two matplotlib.axes.Axes
    """
    snr = np.asarray(candidates["snr"], dtype=float)
    ratio = np.asarray(candidates["fwhm"]) / np.asarray(candidates["psf_fwhm"])
    panels = (
        (axes[0], np.asarray(candidates["psf_chi2"]), "reduced chi2 of the PSF fit"),
        (axes[1], ratio, "FWHM / FWHM of the PSF"),
    )
    for ax, values, name in panels:
        good = np.isfinite(values) & (values > 0) & (snr > 0)
        if not good.any():
            draw_none(ax)
            continue
        ax.plot(snr[good], values[good], ".", ms=4, alpha=0.5, color=COLORS["real"])
        ax.axhline(1, color=COLORS["limit"], lw=1, ls="--")
        ax.set(xscale="log", yscale="log", xlabel="S/N", ylabel=name)
    axes[1].yaxis.set_major_formatter(ScalarFormatter())
    axes[1].yaxis.set_minor_formatter(NullFormatter())
    axes[1].set_yticks([0.2, 0.5, 1, 2, 5])
    return axes


def match_separation(crossmatch, match_radius, *, ax):
    """Draw the separations of the matched pairs, in FWHM.

    Parameters
    ----------
    crossmatch : astropy.table.Table
        ``match``, ``separation_fwhm``.
    match_radius : float
        [FWHM]
    ax : matplotlib.axes.Axes
    """
    matched = np.asarray(crossmatch["match"]) == "matched"
    values = np.asarray(crossmatch["separation_fwhm"], dtype=float)[matched]
    if not len(values):
        return draw_none(ax, "no injected sources in this workflow")
    ax.hist(values, bins=np.linspace(0, match_radius, 41), color=COLORS["real"])
    ax.set(xlabel="separation [FWHM]", ylabel="matched pairs", xlim=(0, match_radius))
    return ax
