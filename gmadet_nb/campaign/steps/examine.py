"""01: what an exposure is, and whether it can serve."""

import logging
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table

from gmadet_nb.errors import BadImageError, BadInputError
from gmadet_nb.files.fits_files import exposure_ids, find_images, read_pixels
from gmadet_nb.files.headers import effective_gain, header_values
from gmadet_nb.files.images import Image, header_wcs, make_mask, write_image
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.files.telescopes import load_telescope
from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging import prepare
from gmadet_nb.imaging.psf import write_psf
from gmadet_nb.imaging.psf_fit import fit_psf
from gmadet_nb.imaging.psf_psfex import psfex_path, read_psfex
from gmadet_nb.imaging.stars import choose_stars, mark_stars

logger = logging.getLogger(__name__)

# Keywords under which pipelines leave the zero point of 1 adu [mag].
_ZERO_POINT_KEYWORDS = ("MAGZP", "MAGZPT", "ZEROPT", "MAGZERO", "PHOTZP", "MAGZEROP")
DEFAULT_ZERO_POINT = 30.0
# Where the telescope file names none; few stars lower it.
_PSF_DEGREE = 2
_NTH_BRIGHTEST = 30
_EXPOSURE_UNITS = {
    "mjd": u.d,
    "exptime": u.s,
    "gain": u.electron / u.adu,
    "read_noise": u.electron,
    "saturation": u.adu,
    "zero_point": u.mag,
    "pixel_scale": u.arcsec / u.pix,
    "ra": u.deg,
    "dec": u.deg,
    "background": u.adu,
    "background_rms": u.adu,
    "noise": u.adu,
    "sky_level": u.adu,
    "pixel_noise": u.adu,
    "fwhm": u.pix,
    "limiting_mag": u.mag,
    "bright_flux": u.adu,
}


def list_exposures(images_dir):
    """List the exposures of a night.

    Returns
    -------
    exposures : list of (str, str)
        ``exposure_id`` and path, sorted by path.
    """
    paths = find_images(images_dir)
    return [(n, str(p)) for n, p in zip(exposure_ids(paths), paths, strict=True)]


def examine_exposure(exposure, *, run_dir, telescope, settings):
    """Measure one exposure and write its PSF; set it aside if it cannot serve.

    Parameters
    ----------
    exposure : tuple of (str, str)
        ``exposure_id`` and path.
    run_dir : str
    telescope : str
        Alias or path of a telescope file.
    settings : dict
        ``gain`` [electron/adu], ``read_noise`` [electron], ``saturation`` [adu],
        ``zero_point`` [mag], ``psf_degree``, each a number or ``auto``;
        ``psf_source``, ``image``, or a file of PSFEx or a folder of
        ``<exposure_id>.psf``;
        ``max_elongation``; ``min_stars``; ``extension``, the image's in its file;
        ``clean_cosmic_rays`` and ``subtract_background``, each true or false;
        ``background_box`` [pixel].

    Returns
    -------
    row : dict
        One row of the exposures table.
    """
    exposure_id, path = exposure
    row = _empty_row(exposure_id, path, telescope)
    try:
        image, values = _open_new(row, load_telescope(telescope), settings)
        image = _prepare(image, row, RunDir(run_dir), settings)
        _measure(image, row, RunDir(run_dir), values["psf_degree"], settings)
        row["used"] = True
    except BadImageError as error:
        row["reason"] = str(error)
        logger.info("%s set aside: %s", exposure_id, error)
    return row


def _empty_row(exposure_id, path, telescope):
    row = {"exposure_id": exposure_id, "path": path, "telescope": telescope}
    row |= {"extension": "auto", "prepared": "", "n_cosmic_ray_pixels": 0}
    row |= {"filter": "", "mjd": np.nan, "exptime": np.nan, "gain": np.nan}
    row |= {"gain_source": "", "read_noise": 0.0, "saturation": np.inf}
    row |= {"zero_point": np.nan, "zero_point_source": "", "pixel_scale": np.nan}
    row |= {"nx": 0, "ny": 0, "ra": np.nan, "dec": np.nan}
    row |= {"background": np.nan, "background_rms": np.nan, "noise": np.nan}
    row |= {"sky_level": np.nan, "pixel_noise": np.nan}
    row |= {"noise_model": "", "fwhm": np.nan, "elongation": np.nan, "n_stars": 0}
    row |= {
        "bright_flux": np.nan,
        "psf_kind": "",
        "limiting_mag": np.nan,
        "used": False,
        "reason": "",
    }
    return row


def _open_new(row, telescope, settings):
    """Read an exposure and fill its row with what the header says."""
    row["extension"] = str(settings["extension"])
    data, header = read_pixels(row["path"], row["extension"])
    values = header_values(header, telescope)
    for name in ("gain", "read_noise", "saturation"):
        if settings[name] != "auto":
            values[name], values["sources"][name] = float(settings[name]), "parameter"
    row["ny"], row["nx"] = data.shape
    row["filter"] = values["filter"] or ""
    row["mjd"] = _or_nan(values["mjd"])
    row["exptime"] = _or_nan(values["exptime"])
    row["pixel_scale"] = _or_nan(values["pixel_scale"])
    if values["gain"] is None:
        raise BadImageError(
            f"The gain [electron/adu] of {Path(row['path']).name} must be known, and "
            f"no keyword among {', '.join(telescope.gain_keywords)} states one above "
            "0. Set the parameter 'gain', or its keyword in the telescope file."
        )
    row["gain"], row["gain_source"] = values["gain"], values["sources"]["gain"]
    if row["gain_source"] != "parameter":
        _follow_unit(row, header)
    row["read_noise"] = values["read_noise"] or 0.0
    row["saturation"] = values["saturation"] or np.inf
    row["zero_point"], row["zero_point_source"] = _zero_point(header, settings)
    values["psf_degree"] = (
        _PSF_DEGREE if telescope.psf_degree is None else telescope.psf_degree
    )
    wcs = header_wcs(header)
    if wcs is not None:
        middle = (data.shape[1] - 1) / 2, (data.shape[0] - 1) / 2
        row["ra"], row["dec"] = (float(v) for v in wcs.pixel_to_world_values(*middle))
    image = Image(
        data=data,
        mask=make_mask(data, row["saturation"]),
        gain=row["gain"],
        read_noise=row["read_noise"],
        saturation=row["saturation"],
        zero_point=row["zero_point"],
        exposure_id=row["exposure_id"],
        wcs=wcs,
        filter=row["filter"],
        header=header,
    )
    return image, values


def _follow_unit(row, header):
    """Turn the camera's gain into that of the image's unit, where it is another."""
    unit = str(header.get("BUNIT", "adu"))
    gain = effective_gain(row["gain"], row["exptime"], unit)
    if gain is None or not np.isfinite(gain):
        raise BadImageError(
            f"An image in {unit!r} must state its exposure time, on which its photon "
            "noise depends. Set the parameter 'gain' to electrons per unit."
        )
    if gain != row["gain"]:
        row["gain"], row["gain_source"] = gain, f"{row['gain_source']}, BUNIT {unit}"


def _prepare(image, row, run, settings):
    """Do to an exposure what was asked for, and write it so for the later steps."""
    if not (settings["clean_cosmic_rays"] or settings["subtract_background"]):
        return image
    if settings["clean_cosmic_rays"]:
        image, row["n_cosmic_ray_pixels"] = prepare.clean_cosmic_rays(image)
    if settings["subtract_background"]:
        image = prepare.subtract_background(image, box=settings["background_box"])
        row["saturation"] = image.saturation
    path = run.prepared_path(row["exposure_id"])
    write_image(path, image)
    row["prepared"] = str(path)
    return image


def _or_nan(value):
    return np.nan if value is None else value


def _zero_point(header, settings):
    if settings["zero_point"] != "auto":
        return float(settings["zero_point"]), "parameter"
    for keyword in _ZERO_POINT_KEYWORDS:
        value = header.get(keyword)
        if isinstance(value, (int, float)) and 5 < value < 50:
            return float(value), keyword
    return DEFAULT_ZERO_POINT, "none: magnitudes are relative"


def _measure(image, row, run, psf_degree, settings):
    """Fill a row with background, noise, stars and PSF; write the PSF."""
    background, rms = phot.fit_background(image, box=settings["background_box"])
    noise = phot.measure_noise(image)
    row["background"] = float(np.median(background))
    row["background_rms"] = rms
    row["noise"], row["noise_model"] = float(np.sqrt(noise.sky_variance)), noise.model
    row["sky_level"], row["pixel_noise"] = noise.level, noise.measured
    sources = phot.find_sources(image, background, row["noise"])
    peak = 0.8 * (image.saturation - row["background"])
    sources["is_star"] = mark_stars(sources, saturation_peak=peak)
    row["elongation"] = _typical_elongation(sources, peak)
    row["bright_flux"] = _bright_flux(sources)
    # The question of trails comes first: a trailed image has no round stars.
    if row["elongation"] > settings["max_elongation"]:
        raise BadImageError(
            "Its stars must have an elongation of at most max_elongation, "
            f"{settings['max_elongation']}, got {row['elongation']:.2f}: trailed or "
            "out of focus."
        )
    sources["row"] = np.arange(len(sources))
    stars = choose_stars(sources)
    row["n_stars"] = len(stars)
    if len(stars) < settings["min_stars"]:
        raise BadImageError(
            f"It must show at least {settings['min_stars']} stars fit for a PSF "
            f"('min_stars'), got {len(stars)} among {len(sources)} sources. A lower "
            "min_stars takes it, with a PSF that is constant over the field."
        )
    wanted = settings["psf_degree"]
    degree = int(psf_degree if wanted == "auto" else wanted)
    psf, kept = fit_psf(image, background, stars, degree=degree)
    kind = "constant" if psf.degree == 0 else f"polynomial {psf.degree}"
    if settings["psf_source"] != "image":
        model = psfex_path(settings["psf_source"], row["exposure_id"])
        psf = read_psfex(model, image.data.shape)
        kind = f"PSFEx, degree {psf.degree}"
    # A PSF gives better places than moments, the more so where pixels are coarse.
    for name in ("x", "y"):
        sources[name][kept["row"]] = kept[name]
    sources["psf_star"] = np.isin(sources["row"], kept["row"])
    sources.remove_column("row")
    row["n_stars"], row["fwhm"] = len(kept), psf.fwhm
    row["psf_kind"] = kind
    middle = psf.centered((row["nx"] - 1) / 2, (row["ny"] - 1) / 2)
    row["limiting_mag"] = phot.limiting_mag(row["noise"], middle, row["zero_point"])
    write_psf(run.psf_path(row["exposure_id"]), psf, sources)


def _typical_elongation(sources, saturation_peak):
    """Return the median elongation of the bright, unsaturated sources."""
    good = sources["usable"] & (sources["peak"] < saturation_peak)
    bright = sources[good]
    bright = bright[np.argsort(np.asarray(bright["flux"]))[::-1][:100]]
    return float(np.median(bright["elongation"])) if len(bright) else np.nan


def _bright_flux(sources):
    """Return the flux of the 30th brightest source: it falls as clouds come.

    The same stars are the brightest in all exposures of a field, saturated or not.
    """
    flux = np.sort(np.asarray(sources["flux"]))[::-1]
    return float(flux[_NTH_BRIGHTEST - 1]) if len(flux) >= _NTH_BRIGHTEST else np.nan


def exposures_table(rows):
    """Make the exposures table of the rows of `examine_exposure`."""
    table = Table(rows=rows)
    for name, unit in _EXPOSURE_UNITS.items():
        table[name].unit = unit
    return table


def check_exposures(exposures, *, n_least):
    """Raise if too few exposures are used, with the reasons of the others.

    Raises
    ------
    BadInputError
    """
    used = exposures[exposures["used"]]
    if len(used) < n_least:
        reasons = "; ".join(
            f"{row['exposure_id']}: {row['reason']}"
            for row in exposures[~exposures["used"]][:3]
        )
        raise BadInputError(
            f"At least {n_least} exposures must be usable, got {len(used)} of "
            f"{len(exposures)}. The others: {reasons}"
        )
