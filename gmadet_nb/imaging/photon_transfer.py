"""The gain of a camera from its own night: how noise grows with the sky's level."""

from dataclasses import dataclass

import numpy as np

from gmadet_nb.imaging.photometry import robust_width

_FEWEST = 5  # exposures: a line through fewer says nothing of its own scatter
_N_PASSES = 4


@dataclass(frozen=True, kw_only=True)
class PhotonTransfer:
    """The line on which the exposures of one camera lie.

    Attributes
    ----------
    gain : float
        [electron/adu]
    gain_err : float
        Its standard deviation, from the scatter about the line [electron/adu].
    offset : float
        Variance at level 0: read noise, less what a pedestal takes off [adu^2].
    n_exposures : int
        Left in the fit.
    """

    gain: float
    gain_err: float
    offset: float
    n_exposures: int


def fit_photon_transfer(levels, variances):
    """Fit the variance of empty pixels by their level, over exposures.

    Photons make ``variance = (level - pedestal) / gain + read_noise^2``: the slope is
    1 / gain whatever pedestal is left in the counts, so that exposures under a sky that
    brightens measure the gain without a header (Janesick 2007, "Photon Transfer").

    Parameters
    ----------
    levels : (n,) array
        Of the empty pixels of each exposure [adu].
    variances : (n,) array
        Between neighbouring pixels there [adu^2].

    Returns
    -------
    line : PhotonTransfer or None
        None where there are fewer than 5 exposures, or the noise does not grow with
        the level.
    """
    levels, variances = np.asarray(levels, float), np.asarray(variances, float)
    known = np.isfinite(levels) & np.isfinite(variances) & (variances > 0)
    x, y = levels[known], variances[known]
    if len(x) < _FEWEST or np.ptp(x) == 0:
        return None
    keep = np.ones(len(x), dtype=bool)
    for _ in range(_N_PASSES):
        if keep.sum() < _FEWEST:
            return None
        # Each variance is known to the same share of itself.
        slope, offset = np.polyfit(x[keep], y[keep], 1, w=1 / y[keep])
        left = (y - slope * x - offset) / y
        scatter = max(robust_width(left[keep]), 1e-6)
        keep = np.abs(left) < 4 * scatter
    if not slope > 0:
        return None
    weight = 1 / (y[keep] * left[keep].std(ddof=2)) ** 2
    middle = np.average(x[keep], weights=weight)
    slope_err = 1 / np.sqrt(np.sum(weight * (x[keep] - middle) ** 2))
    return PhotonTransfer(
        gain=1 / slope,
        gain_err=slope_err / slope**2,
        offset=offset,
        n_exposures=int(keep.sum()),
    )
