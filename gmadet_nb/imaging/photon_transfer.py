"""The gain of a camera from its own night: how noise grows with the sky's level."""

from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from scipy.stats import t as student

from gmadet_nb.imaging.photometry import pixel_noise, robust_width

_FEWEST = 5  # exposures: a line through fewer says nothing of its own scatter
_N_PASSES = 4
# Noise between neighbours over that between pixels three apart: below it an image was
# resampled. Stars that are not quite the same in both images lower it by some percent.
_LEAST_INDEPENDENT = 0.9


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
        In the fit.
    """

    gain: float
    gain_err: float
    offset: float
    n_exposures: int

    def differs_from(self, gain, *, confidence):
        """Say whether another gain lies outside this one's interval.

        The scatter is that of few exposures, so that the interval is Student's.

        Parameters
        ----------
        gain : float
            [electron/adu]
        confidence : float
            Share of right gains that lie within.

        Returns
        -------
        differs : bool
        """
        reach = student.ppf(0.5 + confidence / 2, self.n_exposures - 2)
        return abs(1 / gain - 1 / self.gain) > reach * self.gain_err / self.gain**2


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
        Of independent pixels there [adu^2].

    Returns
    -------
    line : PhotonTransfer or None
        None where fewer than 5 exposures lie on one line, or the noise does not grow
        with the level.
    """
    levels, variances = np.asarray(levels, float), np.asarray(variances, float)
    known = np.isfinite(levels) & np.isfinite(variances) & (variances > 0)
    x, y = levels[known], variances[known]
    keep = np.ones(len(x), dtype=bool)
    for _ in range(_N_PASSES):
        if keep.sum() < _FEWEST or np.ptp(x[keep]) == 0:
            return None
        # Each variance is known to the same share of itself.
        slope, offset = np.polyfit(x[keep], y[keep], 1, w=1 / y[keep])
        left = (y - slope * x - offset) / y
        near = np.abs(left) < 4 * max(robust_width(left[keep]), 1e-6)
        if (near == keep).all():
            break
        fitted, keep = keep, near
    else:
        keep = fitted
    if not slope > 0:
        return None
    n = int(keep.sum())
    weight = 1 / (y[keep] ** 2 * max((left[keep] ** 2).sum() / (n - 2), 1e-12))
    middle = np.average(x[keep], weights=weight)
    slope_err = 1 / np.sqrt(np.sum(weight * (x[keep] - middle) ** 2))
    return PhotonTransfer(
        gain=float(1 / slope),
        gain_err=float(slope_err / slope**2),
        offset=float(offset),
        n_exposures=n,
    )


def difference_noise(first, second):
    """Measure the noise of one exposure on the difference to another of its camera.

    What stays with the pixels of a detector, a flat field that is wrong by some
    percent, passes for noise within one exposure, and grows with the level faster than
    that of the photons: it is gone in the difference.

    Parameters
    ----------
    first, second : Image
        On the same pixels of the detector.

    Returns
    -------
    level : float
        Mean of the two, of empty pixels [adu]; NaN where too few are usable.
    variance : float
        Of a pixel in one of them [adu^2].
    independent : bool
        False where pixels three apart differ by more than neighbours do: an image that
        was resampled has lost a part of its noise between neighbours.
    """
    usable = first.usable & second.usable
    data = np.where(usable, first.data - second.data, 0)
    noise, _ = pixel_noise(data, usable)
    levels = [pixel_noise(image.data, usable)[1] for image in (first, second)]
    both = usable[:, 3:] & usable[:, :-3]
    if np.isnan(noise) or both.sum() < 100:
        return np.nan, np.nan, False
    apart = mad_std((data[:, 3:] - data[:, :-3])[both]) / np.sqrt(2)
    independent = bool(noise > _LEAST_INDEPENDENT * apart)
    return float(np.mean(levels)), noise**2 / 2, independent
