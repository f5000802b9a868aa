"""The photon transfer of a night: how the noise of the sky grows with its level."""

import numpy as np

from gmadet_nb.views.style import COLORS, draw_none, legend_above


def photon_transfer(exposures, lines, *, ax):
    """Draw the variance of empty pixels against their level, and what gains make of it.

    Parameters
    ----------
    exposures : astropy.table.Table
        The exposures table as it was examined.
    lines : list of (float, PhotonTransfer)
        From `gmadet_nb.campaign.steps.gains.photon_transfers`.
    """
    used = exposures[exposures["used"]]
    level = np.asarray(used["sky_level"], dtype=float)
    variance = np.asarray(used["pixel_noise"], dtype=float) ** 2
    ax.set(xlabel="level of the sky [adu]", ylabel="variance of a pixel [adu$^2$]")
    if not np.isfinite(level).any():
        return draw_none(ax, "no exposure is used")
    ax.plot(level, variance, "o", color=COLORS["real"], label="exposures")
    ends = np.array([level.min(), level.max()])
    for stated, line in lines:
        ax.plot(
            ends,
            line.offset + ends / line.gain,
            color=COLORS["fit"],
            label=f"fit: gain {line.gain:.3g} ± {line.gain_err:.1g}",
        )
        # Through the middle of the fit, since a pedestal shifts the level.
        middle = ends.mean()
        ax.plot(
            ends,
            line.offset + middle / line.gain + (ends - middle) / stated,
            color=COLORS["limit"],
            ls="--",
            label=f"as the header states: {stated:.3g}",
        )
    legend_above(ax)
    return ax
