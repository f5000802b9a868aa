"""Figures of the injection's self-check."""

import numpy as np

from gmadet_nb.imaging.photometry import robust_width

_BINS = np.linspace(-5, 5, 41)


def pulls(recovered, *, axes):
    """Show how far recovered sources are from the injected, in units of the error.

    Parameters
    ----------
    recovered : astropy.table.Table
        From `gmadet_nb.imaging.self_check.recover_sources`.
    axes : three matplotlib Axes
        For flux, x and y.
    """
    middles = (_BINS[1:] + _BINS[:-1]) / 2
    gauss = np.exp(-(middles**2) / 2)
    for ax, name in zip(axes, ("flux", "x", "y"), strict=True):
        values = np.asarray(recovered[f"pull_{name}"], dtype=float)
        ax.hist(np.clip(values, -5, 5), bins=_BINS, color="tab:blue", alpha=0.6)
        scale = len(values) * (_BINS[1] - _BINS[0]) / np.sqrt(2 * np.pi)
        ax.plot(middles, scale * gauss, color="black", lw=1.2)
        ax.set_title(f"{name}: width {robust_width(values):.2f}")
        ax.set_xlabel("(recovered - injected) / error")
    axes[0].set_ylabel("sources")
    return axes


def offsets(recovered, *, axes):
    """Show offsets by the phase within the pixel, and the flux ratio by S/N.

    Parameters
    ----------
    recovered : astropy.table.Table
    axes : two matplotlib Axes
    """
    bright = np.asarray(recovered["snr"]) > 15
    for name, color, marker in (("x", "tab:blue", "o"), ("y", "tab:orange", "^")):
        axes[0].plot(
            np.asarray(recovered[f"phase_{name}"])[bright],
            np.asarray(recovered[f"d{name}"])[bright],
            marker,
            ms=3,
            alpha=0.5,
            color=color,
            label=f"{name}, S/N above 15",
        )
    axes[0].axhline(0, color="black", lw=0.8)
    axes[0].set(
        xlabel="place within the pixel [pixel]",
        ylabel="recovered - injected [pixel]",
        ylim=(-0.2, 0.2),
    )
    axes[0].legend(loc="upper right")
    axes[1].semilogx(recovered["snr"], recovered["flux_ratio"], ".", ms=4, alpha=0.5)
    axes[1].axhline(1, color="black", lw=0.8)
    axes[1].set(
        xlabel="S/N in the exposure",
        ylabel="recovered / injected flux",
        ylim=(0.5, 1.5),
    )
    return axes
