"""Galaxies that a difference's own reference shows, and how near a place is to one."""

import numpy as np
from astropy.stats import mad_std
from scipy.spatial import cKDTree

from gmadet_nb.files.images import Image
from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging.simulate import find_galaxies
from gmadet_nb.imaging.stars import mark_stars

# Of so many of the nearest the one that reaches farthest is found: a large galaxy may
# stand behind some small ones.
_N_NEAREST = 16


def find_reference_sources(difference, noise):
    """Find the sources of the matched reference, on the science exposure's pixels.

    Parameters
    ----------
    difference : gmadet_nb.imaging.subtract.Difference
        With a reference that is finite somewhere.
    noise : float
        Standard deviation of an empty pixel [adu]: five of them are a source.

    Returns
    -------
    sources : astropy.table.Table
        From `gmadet_nb.imaging.photometry.find_sources`.
    """
    image = Image(
        data=difference.reference,
        mask=difference.mask,
        gain=1.0,
        read_noise=0.0,
        saturation=np.inf,
        zero_point=np.nan,
        exposure_id="reference",
    )
    level = np.median(difference.reference[difference.usable])
    return phot.find_sources(image, np.float32(level), noise)


def find_hosts(difference):
    """Find the galaxies of the matched reference: sources wider than its stars.

    Parameters
    ----------
    difference : gmadet_nb.imaging.subtract.Difference

    Returns
    -------
    astropy.table.Table or None
        ``x``, ``y``, ``half_light_radius`` [pixel]; None where there is no reference,
        or not one star to tell a galaxy from.
    """
    values = difference.reference[difference.usable]
    if not np.isfinite(values).any():
        return None
    # A reference is deeper than the exposure, whose noise rules the difference.
    own_noise = float(mad_std(values, ignore_nan=True))
    sources = find_reference_sources(difference, own_noise)
    stars = sources[mark_stars(sources, saturation_peak=np.inf)]
    if not len(stars):
        return None
    galaxies = find_galaxies(sources, float(np.median(stars["half_light_radius"])))
    return galaxies["x", "y", "half_light_radius"]


def nearest(places, hosts, radii):
    """Return how far places are from the nearest of some galaxies.

    Parameters
    ----------
    places : (n, d) array
        In a flat space of any unit.
    hosts : (m, d) array
    radii : (m,) array
        In the same unit; NaN where it is not known.

    Returns
    -------
    distance : (n,) array
        To the nearest; infinite where there is none.
    in_radii : (n,) array
        The least distance in units of a galaxy's radius, of those whose radius is
        known; NaN where no such galaxy is near.
    """
    if not len(hosts) or not len(places):
        return np.full((2, len(places)), np.inf)
    k = np.arange(1, min(_N_NEAREST, len(hosts)) + 1)
    distance, which = cKDTree(hosts).query(places, k=k)
    in_radii = distance / np.asarray(radii)[which]
    return distance[:, 0], np.fmin.reduce(in_radii, axis=1)  # leaves NaN out
