"""Places of candidates, on the sky and on the detector, and which are the same."""

import numpy as np
from astropy.table import join
from scipy.spatial import KDTree

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.tables import as_floats

FAR = 1.0e8  # [pixel] farther off than any place on the sky


def detector_places(table):
    """Return x and y as an (n, 2) array [pixel]."""
    places = np.stack([as_floats(table["x"]), as_floats(table["y"])], axis=1)
    if not np.isfinite(places).all():
        raise BadInputError("Every candidate must have a finite x and y.")
    return places


def with_places(labels, candidates):
    """Return the rows of labels, in their order, with the candidates' places.

    Parameters
    ----------
    labels, candidates : astropy.table.Table
        Both with ``candidate_id``.

    Returns
    -------
    astropy.table.Table
        The labels' columns and ``x``, ``y``, ``psf_fwhm`` [pixel], ``ra``, ``dec``
        [deg]. Of stamps from elsewhere no place is known: each stands far from all
        others, and ``meta["placeless"]`` is True.

    Raises
    ------
    BadInputError
        If a labelled candidate is not among the candidates.
    """
    columns = ["candidate_id", "x", "y", "ra", "dec", "psf_fwhm"]
    table = labels.copy()
    table["order"] = np.arange(len(table))
    known = set(candidates["candidate_id"])
    missing = [key for key in labels["candidate_id"] if key not in known]
    if missing:
        raise BadInputError(
            f"{len(missing)} labelled candidates must be in the candidates table and "
            f"are not, the first is {missing[0]!r}. Run 03_detect and 04_cutouts again."
        )
    table = join(
        table, candidates[columns], keys="candidate_id", metadata_conflicts="silent"
    )
    table.sort("order")
    table.remove_column("order")
    table.meta["placeless"] = not np.isfinite(as_floats(table["x"])).any()
    if table.meta["placeless"]:
        table["x"], table["y"], table["psf_fwhm"] = (
            np.arange(len(table)) * FAR,
            0.0,
            1.0,
        )
    return table


def on_unknown_place(table):
    """Say of each row whether it may stand where another one does: (n,) bool array.

    Within one exposure the detector tells places apart without the sky; where no place
    at all is known, nothing can be compared.

    Parameters
    ----------
    table : astropy.table.Table
        From `with_places`, with ``exposure_id``.
    """
    compared = len(set(table["exposure_id"])) > 1 and not table.meta["placeless"]
    return ~known_on_sky(table) & compared


def psf_widths(table):
    """Return each candidate's PSF width [pixel], the median where there is none."""
    fwhm = as_floats(table["psf_fwhm"])
    good = np.isfinite(fwhm)
    if not good.any():
        raise BadInputError("psf_fwhm must be finite for some candidates; none is.")
    return np.where(good, fwhm, np.median(fwhm[good]))


def known_on_sky(table):
    """Say of each row whether its ``ra`` and ``dec`` are known: (n,) bool array."""
    return np.isfinite(as_floats(table["ra"])) & np.isfinite(as_floats(table["dec"]))


def typical_pixel_scale(exposures):
    """Return the median pixel scale of the used exposures, NaN where none has one.

    Parameters
    ----------
    exposures : astropy.table.Table
        ``pixel_scale`` [arcsec/pixel], NaN without a WCS; ``used``.

    Returns
    -------
    float
        [arcsec/pixel]
    """
    scale = as_floats(exposures["pixel_scale"])[np.asarray(exposures["used"], bool)]
    scale = scale[np.isfinite(scale)]
    return float(np.median(scale)) if len(scale) else np.nan


def sky_places(table, *, pixel_scale):
    """Return places on the sky in units of pixels, as an (n, 2) array.

    Right ascension and declination on a plane that touches the sky near their
    middle. Candidates without them get x and y instead, moved so far off that
    they meet only their like.

    Parameters
    ----------
    table : astropy.table.Table
        ``ra``, ``dec`` [deg], ``x``, ``y`` [pixel].
    pixel_scale : float
        [arcsec/pixel]
    """
    ra, dec = np.radians(as_floats(table["ra"])), np.radians(as_floats(table["dec"]))
    known = known_on_sky(table)
    places = detector_places(table)
    if not known.any():
        return places
    if not pixel_scale > 0:
        raise BadInputError(
            f"pixel_scale must be > 0 arcsec/pixel, got {pixel_scale}. Set it in the "
            "telescope file."
        )
    ra, dec = ra[known], dec[known]
    vector = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    middle = vector.mean(axis=1)
    middle /= np.linalg.norm(middle)
    ra_middle = np.arctan2(middle[1], middle[0])
    east = np.array([-np.sin(ra_middle), np.cos(ra_middle), 0.0])
    north = np.cross(middle, east)
    # Equal-area (Lambert), which holds for fields far from each other too.
    scale = np.sqrt(2 / np.maximum(1 + middle @ vector, 1e-6))
    plane = np.stack([east @ vector * scale, north @ vector * scale], axis=1)
    places[~known] += FAR
    places[known] = np.degrees(plane) * 3600 / pixel_scale
    return places


def cell_places(table, sky):
    """Return the places by which cells are cut, (n, 2) [pixel].

    Those of the sky, but where one exposure has coordinates and another none: then
    those of the detector.

    Parameters
    ----------
    table : astropy.table.Table
        ``x``, ``y`` [pixel].
    sky : (n, 2) array
        From `sky_places`.
    """
    return detector_places(table) if sky.max() > FAR / 2 else sky


def seen_places(places, others, *, radius, square=False):
    """Say of each place whether one of the others is within a radius.

    Parameters
    ----------
    places, others : (n, 2), (m, 2) arrays
        [pixel]
    radius : float or (n,) array
        [pixel]
    square : bool
        The larger of the distances in x and y counts, not the true distance.

    Returns
    -------
    (n,) bool array
    """
    if not len(places) or not len(others):
        return np.zeros(len(places), bool)
    distance = KDTree(others).query(places, p=np.inf if square else 2)[0]
    return distance <= radius


def near_other_part(places, part, *, margin, square=False):
    """Say of calibration and test places whether another part's is within a margin.

    Test gives way to calibration and training, calibration to training.

    Parameters
    ----------
    places : (n, 2) array
        [pixel]
    part : (n,) array of str
        "training", "validation", "calibration" or "test".
    margin : float
        [pixel]
    square : bool
        See `seen_places`.

    Returns
    -------
    (n,) bool array
    """
    near = np.zeros(len(part), bool)
    for name, others in (
        ("calibration", ("training", "validation")),
        ("test", ("training", "validation", "calibration")),
    ):
        mine, other = part == name, np.isin(part, others)
        near[mine] = seen_places(
            places[mine], places[other], radius=margin, square=square
        )
    return near


def seen_in_training(table, sky, *, judged, trained):
    """Say of candidates that are judged whether training has seen their place.

    On the sky or on the detector, within one FWHM. What is not known to be elsewhere
    on the sky counts as seen; within one exposure the detector tells that as well.

    Parameters
    ----------
    table : astropy.table.Table
        ``exposure_id``, ``x``, ``y``, ``psf_fwhm`` [pixel], ``ra``, ``dec`` [deg].
    sky : (n, 2) array
        From `sky_places` [pixel].
    judged, trained : (n,) bool arrays
        Which rows.

    Returns
    -------
    (n,) bool array
        False where it is not judged.
    """
    fwhm, xy = psf_widths(table)[judged], detector_places(table)
    unknown = on_unknown_place(table)
    seen = np.zeros(len(table), bool)
    seen[judged] = (
        unknown[judged]
        | unknown[trained].any()
        | seen_places(sky[judged], sky[trained], radius=fwhm)
        | seen_places(xy[judged], xy[trained], radius=fwhm)
    )
    return seen
