"""How far candidates are from the nearest galaxy, seen or known."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.imaging.hosts import nearest
from gmadet_nb.sky.known import on_sphere


def galaxy_distances(candidates, exposures, seen, known, *, match_radius):
    """Measure how far each candidate is from a galaxy.

    Of the galaxies that the reference of its exposure shows and of the known ones.

    Parameters
    ----------
    candidates : astropy.table.Table
        ``exposure_id``, ``x``, ``y``, ``psf_fwhm`` [pixel], ``ra``, ``dec`` [deg].
    exposures : astropy.table.Table
        ``exposure_id``, ``pixel_scale`` [arcsec/pixel].
    seen : dict of str to astropy.table.Table or None
        By ``exposure_id``, from `gmadet_nb.imaging.hosts.find_hosts`; None where
        nothing was looked for.
    known : astropy.table.Table
        From `gmadet_nb.sky.catalogs.read_known`, of which the galaxies count. One
        without a radius reaches as far as a match does, by the widths that are known.
    match_radius : float
        [FWHM]

    Returns
    -------
    astropy.table.Table
        One row a candidate, in order: ``galaxy_distance`` [pixel] and
        ``galaxy_radii``, the least distance in half-light radii of a galaxy; infinite
        where there is no galaxy, NaN where none was looked for.
    """
    found = np.full((2, len(candidates)), np.nan)
    names = np.asarray(candidates["exposure_id"]).astype(str)
    for exposure_id, galaxies in seen.items():
        here = names == exposure_id
        if galaxies is not None:
            places, hosts = (
                np.column_stack([as_floats(some["x"]), as_floats(some["y"])])
                for some in (candidates[here], galaxies)
            )
            found[:, here] = nearest(places, hosts, galaxies["half_light_radius"])
    by_table = _to_known(candidates, exposures, known, match_radius)
    distance, radii = np.fmin(found, by_table)
    return Table({"galaxy_distance": distance * u.pix, "galaxy_radii": radii})


def _to_known(candidates, exposures, known, match_radius):
    """Return the distances to known galaxies, NaN where nobody knows of any."""
    found = np.full((2, len(candidates)), np.nan)
    galaxies = known[known["kind"] == "galaxy"]
    placed = np.isfinite(as_floats(candidates["ra"]) + as_floats(candidates["dec"]))
    if not len(galaxies) or not placed.any():
        return found
    rows = candidates[placed]
    here = rows_of(rows["exposure_id"], exposures["exposure_id"])
    scale = as_floats(exposures["pixel_scale"])[here]
    widths = match_radius * as_floats(rows["psf_fwhm"]) * scale
    measured = np.isfinite(widths)
    reach = np.median(widths[measured]) if measured.any() else np.nan
    radius = as_floats(galaxies["radius"])
    # Chords of the unit sphere are angles [radian] as long as they are small.
    arcsec = np.radians(1 / 3600)
    distance, radii = nearest(
        on_sphere(rows),
        on_sphere(galaxies),
        np.where(radius > 0, radius, reach) * arcsec,
    )
    found[:, placed] = distance / arcsec / scale, radii
    return found
