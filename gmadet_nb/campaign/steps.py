"""One exposure through one stage: read, call the science, write, return a row.

These are what the notebooks map over the exposures. A bad image comes back as a
row with its reason, so that the night goes on without it.
"""

import logging
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table, vstack

from gmadet_nb.errors import BadImageError, BadInputError, BadParameterError
from gmadet_nb.files.images import (
    Image,
    exposure_ids,
    find_images,
    header_wcs,
    make_mask,
    open_exposure,
    read_pixels,
    write_image,
)
from gmadet_nb.files.rundir import RunDir, atomic_path
from gmadet_nb.files.telescopes import header_values, load_telescope
from gmadet_nb.imaging import detect, match, simulate
from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging import psf as psf_tools
from gmadet_nb.imaging import subtract as subtraction_tools
from gmadet_nb.learning import cutouts
from gmadet_nb.progress import progress
from gmadet_nb.sky import references

logger = logging.getLogger(__name__)

# Keywords under which pipelines leave the zero point of 1 adu [mag].
_ZERO_POINT_KEYWORDS = ("MAGZP", "MAGZPT", "ZEROPT", "MAGZERO", "PHOTZP", "MAGZEROP")
_DEFAULT_ZERO_POINT = 30.0
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
    "fwhm": u.pix,
    "limiting_mag": u.mag,
}
_SUBTRACTION_UNITS = {
    "science_fwhm": u.pix,
    "reference_fwhm": u.pix,
    "alignment_rms": u.pix,
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


# -- 01: what an exposure is


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
        ``max_elongation``; ``min_stars``.

    Returns
    -------
    row : dict
        One row of the exposures table.
    """
    exposure_id, path = exposure
    row = _empty_row(exposure_id, path, telescope)
    try:
        image, values = _open_new(row, load_telescope(telescope), settings)
        _measure(image, row, RunDir(run_dir), values["psf_degree"], settings)
        row["used"] = True
    except BadImageError as error:
        row["reason"] = str(error)
        logger.info("%s set aside: %s", exposure_id, error)
    return row


def _empty_row(exposure_id, path, telescope):
    row = {"exposure_id": exposure_id, "path": path, "telescope": telescope}
    row |= {"filter": "", "mjd": np.nan, "exptime": np.nan, "gain": np.nan}
    row |= {"gain_source": "", "read_noise": 0.0, "saturation": np.inf}
    row |= {"zero_point": np.nan, "zero_point_source": "", "pixel_scale": np.nan}
    row |= {"nx": 0, "ny": 0, "ra": np.nan, "dec": np.nan}
    row |= {"background": np.nan, "background_rms": np.nan, "noise": np.nan}
    row |= {"noise_model": "", "fwhm": np.nan, "elongation": np.nan, "n_stars": 0}
    row |= {"psf_kind": "", "limiting_mag": np.nan, "used": False, "reason": ""}
    return row


def _open_new(row, telescope, settings):
    """Read an exposure and fill its row with what the header says."""
    data, header = read_pixels(row["path"])
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
            f"no keyword among {', '.join(telescope.gain_keywords)} states it. Set the "
            "parameter 'gain', or its keyword in the telescope file."
        )
    row["gain"], row["gain_source"] = values["gain"], values["sources"]["gain"]
    row["read_noise"] = values["read_noise"] or 0.0
    row["saturation"] = values["saturation"] or np.inf
    row["zero_point"], row["zero_point_source"] = _zero_point(header, settings)
    values["psf_degree"] = telescope.psf_degree
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


def _or_nan(value):
    return np.nan if value is None else value


def _zero_point(header, settings):
    if settings["zero_point"] != "auto":
        return float(settings["zero_point"]), "parameter"
    for keyword in _ZERO_POINT_KEYWORDS:
        value = header.get(keyword)
        if isinstance(value, (int, float)) and 5 < value < 50:
            return float(value), keyword
    return _DEFAULT_ZERO_POINT, "none: magnitudes are relative"


def _measure(image, row, run, psf_degree, settings):
    """Fill a row with background, noise, stars and PSF; write the PSF."""
    background, rms = phot.fit_background(image)
    noise = phot.measure_noise(image)
    row["background"] = float(np.median(background))
    row["background_rms"] = rms
    row["noise"], row["noise_model"] = float(np.sqrt(noise.sky_variance)), noise.model
    sources = phot.find_sources(image, background, row["noise"])
    peak = 0.8 * (image.saturation - row["background"])
    sources["is_star"] = psf_tools.mark_stars(sources, saturation_peak=peak)
    row["elongation"] = _typical_elongation(sources, peak)
    # The question of trails comes first: a trailed image has no round stars.
    if row["elongation"] > settings["max_elongation"]:
        raise BadImageError(
            f"Its stars must have an elongation of at most {settings['max_elongation']} "
            f"('max_elongation'), got {row['elongation']:.2f}: trailed or out of focus."
        )
    stars = psf_tools.choose_stars(sources)
    row["n_stars"] = len(stars)
    if len(stars) < settings["min_stars"]:
        raise BadImageError(
            f"It must show at least {settings['min_stars']} stars fit for a PSF "
            f"('min_stars'), got {len(stars)} of {len(sources)} sources."
        )
    wanted = settings["psf_degree"]
    degree = int(psf_degree if wanted == "auto" else wanted)
    psf, kept = psf_tools.fit_psf(image, background, stars, degree=degree)
    row["n_stars"], row["fwhm"] = len(kept), psf.fwhm
    row["psf_kind"] = "constant" if psf.degree == 0 else f"polynomial {psf.degree}"
    middle = psf.centered((row["nx"] - 1) / 2, (row["ny"] - 1) / 2)
    row["limiting_mag"] = phot.limiting_mag(row["noise"], middle, row["zero_point"])
    _write_psf(run.psf_path(row["exposure_id"]), psf, sources)


def _typical_elongation(sources, saturation_peak):
    """Return the median elongation of the bright, unsaturated sources."""
    good = sources["usable"] & (sources["peak"] < saturation_peak)
    bright = sources[good]
    bright = bright[np.argsort(np.asarray(bright["flux"]))[::-1][:100]]
    return float(np.median(bright["elongation"])) if len(bright) else np.nan


def _write_psf(path, psf, sources):
    """Write the PSF with the sources beside it: later stages align by them."""
    psf_tools.write_psf(path, psf)
    with atomic_path(path) as temporary, fits.open(path, memmap=False) as hdus:
        hdus.append(fits.table_to_hdu(sources))
        hdus[-1].name = "SOURCES"
        hdus.writeto(temporary)


def read_sources(path):
    """Read the sources that `examine_exposure` wrote beside a PSF."""
    return Table.read(path, hdu="SOURCES", format="fits")


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


# -- 02: injection


def simulate_exposure(
    exposure_id, *, run_dir, n_sources, brightness, galaxy_fraction, separation, seed
):
    """Inject sources into one exposure and write it.

    Parameters
    ----------
    exposure_id : str
    run_dir : str
    n_sources : int
    brightness : tuple of (str, float, float)
        See `gmadet_nb.imaging.simulate.draw_sources`.
    galaxy_fraction : float
        Share of the sources put on galaxies.
    separation : float
        Between two injected sources [FWHM].
    seed : int
        Positions and photons have their own streams, by exposure.

    Returns
    -------
    sources : astropy.table.Table
        The injected ones.
    """
    run = RunDir(run_dir)
    row = _row_of(run.read_table("exposures"), exposure_id)
    image = open_exposure(row)
    psf, found = _psf_and_sources(run, exposure_id)
    variance = phot.measure_noise(image).variance(image.data)
    star_radius = float(np.median(found["half_light_radius"][found["is_star"]]))
    key = zlib.crc32(exposure_id.encode())
    drawn = simulate.draw_sources(
        image,
        psf,
        variance,
        n_sources=n_sources,
        brightness=brightness,
        galaxies=(galaxy_fraction, simulate.find_galaxies(found, star_radius)),
        min_separation=separation,
        rng=np.random.default_rng([seed, 0, key]),
    )
    injected_image, sources = simulate.inject_sources(
        image, drawn, psf, rng=np.random.default_rng([seed, 1, key])
    )
    write_image(run.simulated_path(exposure_id), injected_image)
    return sources


def choose_brightness(mag_range, snr_range):
    """Return what to draw brightness from: S/N where a range of it is given.

    Raises
    ------
    BadParameterError
        If a range has not two numbers.
    """
    kind, limits = ("snr", snr_range) if len(snr_range) else ("mag", mag_range)
    if len(limits) != 2:
        raise BadParameterError(
            f"{kind}_range must be two numbers, got {list(limits)}. "
            "An empty snr_range draws by mag_range."
        )
    return simulate.check_brightness((kind, *limits))


def _row_of(table, exposure_id):
    return table[table["exposure_id"] == exposure_id][0]


def _psf_and_sources(run, exposure_id):
    path = run.psf_path(exposure_id)
    return psf_tools.read_psf(path), read_sources(path)


# -- 03: subtraction and detection


def detect_on_exposure(
    exposure_id, *, run_dir, workflow, reference, n_stack, kernel_degree, threshold
):
    """Subtract, detect and measure on one exposure, and write its difference.

    Parameters
    ----------
    exposure_id : str
    run_dir : str
    workflow : str
        ``train`` takes the exposure with injected sources, ``apply`` as it is.
    reference : str
        ``none``, ``best``, ``stack`` or the path of a FITS file.
    n_stack : int
        At most so many exposures in a stack.
    kernel_degree : int
    threshold : float
        [sigma]

    Returns
    -------
    row : dict
        One row of the subtractions table.
    candidates : astropy.table.Table or None
        None where no difference could be made.
    """
    run = RunDir(run_dir)
    exposures = run.read_table("exposures")
    row = _row_of(exposures, exposure_id)
    science = _open_science(run, row, workflow)
    psf, sources = _psf_and_sources(run, exposure_id)
    quality = _empty_subtraction(exposure_id, psf.fwhm)
    try:
        difference = _make_difference(
            run,
            exposures,
            row,
            science,
            sources,
            reference,
            n_stack,
            kernel_degree,
            quality,
        )
    except BadImageError as error:
        quality["reason"] = str(error)
        logger.info("%s not subtracted: %s", exposure_id, error)
        return quality, None
    quality["good"], quality["reason"] = subtraction_tools.judge(difference)
    snr = detect.significance(difference, psf)
    x, y = detect.find_candidates(snr, detection_threshold=threshold, fwhm=psf.fwhm)
    candidates = detect.measure_candidates(
        difference, science, psf, x, y, reference_sources=_reference_sources(difference)
    )
    quality["n_candidates"] = len(candidates)
    write_difference(run.difference_path(exposure_id), difference, science.header)
    return quality, candidates


def _open_science(run, row, workflow):
    if workflow not in ("train", "apply"):
        raise BadParameterError(
            f"workflow must be 'train' or 'apply', got {workflow!r}."
        )
    if workflow == "apply":
        return open_exposure(row)
    path = run.simulated_path(row["exposure_id"])
    if not path.is_file():
        raise BadInputError(f"{path} must be there. Run 02_simulate first.")
    return open_exposure(row, path)


def _empty_subtraction(exposure_id, fwhm):
    row = {"exposure_id": exposure_id, "method": "", "reference": "", "n_reference": 0}
    row |= {"science_fwhm": fwhm, "reference_fwhm": np.nan, "n_stars": 0}
    row |= {"alignment_rms": np.nan, "alignment_method": "", "kernel_sum": np.nan}
    row |= {"kernel_sum_scatter": np.nan, "noise_width": np.nan, "star_width": np.nan}
    return row | {"n_candidates": 0, "good": False, "reason": ""}


def _make_difference(
    run, exposures, row, science, sources, reference, n_stack, kernel_degree, quality
):
    """Make one difference and note in ``quality`` how it was made."""
    # Noise and stars come from the exposure as it was taken: injected sources are
    # neither sky nor at home in the reference.
    original = open_exposure(row)
    variance = phot.measure_noise(original).variance(science.data)
    if reference == "none":
        quality["method"] = "none"
        background, _ = phot.fit_background(original)
        difference = subtraction_tools.no_reference(science, variance, background)
    else:
        stars = sources[sources["is_star"]]
        made = make_reference(
            run, exposures, row, original, sources, reference, n_stack
        )
        difference = subtraction_tools.subtract(
            science,
            variance,
            (made.data, made.variance, made.mask),
            science_fwhm=quality["science_fwhm"],
            reference_fwhm=made.fwhm,
            stars=stars,
            degree=kernel_degree,
        )
        quality |= {"method": "kernel", "reference": made.text}
        quality |= {"n_reference": made.n_images, "reference_fwhm": made.fwhm}
        quality |= {"n_stars": len(stars), "alignment_rms": made.alignment_rms}
        quality |= {"alignment_method": made.alignment_method}
    for name in ("kernel_sum", "kernel_sum_scatter", "noise_width", "star_width"):
        quality[name] = getattr(difference, name)
    return difference


def make_reference(run, exposures, row, science, sources, reference, n_stack):
    """Make the reference of one exposure, on its pixels.

    Parameters
    ----------
    run : RunDir
    exposures : astropy.table.Table
    row : astropy.table.Row
        Of the exposure that gets it.
    science : Image
    sources : astropy.table.Table
        Of the exposure.
    reference : str
        ``best``, ``stack`` or the path of a FITS file.
    n_stack : int

    Returns
    -------
    reference : gmadet_nb.sky.references.Reference
    """
    place = {"science": science, "science_sources": sources}
    if reference not in ("best", "stack"):
        image, noise, there, fwhm = _reference_file(reference, str(row["telescope"]))
        return references.place_reference(image, noise, there, fwhm, **place)
    ranked = references.rank_exposures(exposures, without=row["exposure_id"])
    made, failures = [], []
    for other in ranked:
        if len(made) >= (1 if reference == "best" else n_stack):
            break
        image, noise = references.open_night_exposure(other)
        psf, there = _psf_and_sources(run, other["exposure_id"])
        try:
            made.append(
                references.place_reference(image, noise, there, psf.fwhm, **place)
            )
        except BadImageError as error:
            failures.append(f"{other['exposure_id']}: {error}")
    if not made:
        raise BadImageError(
            f"No exposure can be its reference. {' '.join(failures[:2])}"
        )
    if reference == "best":
        return made[0]
    return references.stack_references(made, sources[sources["is_star"]])


@lru_cache(maxsize=1)
def _reference_file(path, telescope):
    return references.load_reference_file(path, telescope)


def _reference_sources(difference):
    """Find the sources of the matched reference, on the science exposure's pixels."""
    if not np.isfinite(difference.reference).any():
        return Table({"x": [], "y": []})
    level = np.median(difference.reference[difference.usable])
    sources = phot.find_sources(
        Image(
            data=difference.reference,
            mask=difference.mask,
            gain=1.0,
            read_noise=0.0,
            saturation=np.inf,
            zero_point=np.nan,
            exposure_id="reference",
        ),
        np.float32(level),
        float(np.median(difference.noise)),
    )
    return sources["x", "y"]


def write_difference(path, difference, header):
    """Write a difference image with its reference, noise and mask."""
    primary = fits.PrimaryHDU()
    if header_wcs(header) is not None:
        primary.header.update(header_wcs(header).to_header(relax=True))
    hdus = [primary]
    for name in ("difference", "reference", "noise", "mask"):
        data = difference.data if name == "difference" else getattr(difference, name)
        hdus.append(fits.ImageHDU(data, name=name.upper()))
    for name in ("kernel_sum", "kernel_sum_scatter", "noise_width", "star_width"):
        value = getattr(difference, name)
        if np.isfinite(value):
            primary.header[f"HIERARCH {name.upper()}"] = value
    with atomic_path(path) as temporary:
        fits.HDUList(hdus).writeto(temporary)


def read_difference(path):
    """Read a difference image that `write_difference` wrote.

    Raises
    ------
    BadInputError
        If it is absent or broken.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            planes = {
                name: hdus[name.upper()].data.astype(
                    np.uint8 if name == "mask" else np.float32
                )
                for name in ("difference", "reference", "noise", "mask")
            }
    except (OSError, KeyError) as error:
        raise BadInputError(
            f"{path} must be a difference written by 03_detect: {error}. Run it again."
        ) from error
    numbers = {
        name: float(header.get(name.upper(), np.nan))
        for name in ("kernel_sum", "kernel_sum_scatter", "noise_width", "star_width")
    }
    return subtraction_tools.Difference(
        data=planes.pop("difference"), **planes, **numbers
    )


def subtractions_table(results):
    """Make the subtractions table of the results of `detect_on_exposure`."""
    table = Table(rows=[row for row, _ in results])
    for name, unit in _SUBTRACTION_UNITS.items():
        table[name].unit = unit
    return table


def candidates_table(results):
    """Stack the candidates of the results of `detect_on_exposure`.

    Raises
    ------
    BadInputError
        If no exposure could be searched.
    """
    tables = [candidates for _, candidates in results if candidates is not None]
    if not tables:
        reasons = "; ".join(
            f"{row['exposure_id']}: {row['reason']}" for row, _ in results
        )
        raise BadInputError(
            f"At least one exposure must be subtracted, and none could: {reasons}"
        )
    return vstack(tables, metadata_conflicts="silent")


# -- 04: matching and cutouts


def match_exposure(exposure_id, *, run_dir, match_radius):
    """Match the injected sources of one exposure to its candidates.

    Returns
    -------
    crossmatch : astropy.table.Table
        See `gmadet_nb.imaging.match.match_sources`; with ``exposure_id``, and of
        each source ``mag``, ``source_flux``, ``source_snr``, ``near_galaxy``,
        ``difference_snr`` (what it truly has on this difference) and ``usable``
        (no masked pixel within one FWHM, in either image).
    """
    run = RunDir(run_dir)
    candidates = run.read_table("candidates")
    candidates = candidates[candidates["exposure_id"] == exposure_id]
    sources = _injected_sources(run, exposure_id)
    psf = psf_tools.read_psf(run.psf_path(exposure_id))
    matches = match.match_sources(
        sources, candidates, match_radius=match_radius, fwhm=psf.fwhm
    )
    n_rest = len(matches) - len(sources)
    matches.add_column(
        np.full(len(matches), exposure_id, dtype=f"U{len(exposure_id)}"),
        name="exposure_id",
        index=0,
    )
    for name, column in (
        ("mag", "mag"),
        ("source_flux", "flux"),
        ("source_snr", "snr"),
    ):
        values = np.asarray(sources[column], dtype=float)
        matches[name] = np.append(values, np.full(n_rest, np.nan))
    matches["mag"].unit, matches["source_flux"].unit = u.mag, u.adu
    near = np.asarray(sources["near_galaxy"], dtype=bool)
    matches["near_galaxy"] = np.append(near, np.zeros(n_rest, bool))
    truth = _true_snrs(run, exposure_id, psf, sources)
    matches["difference_snr"] = np.append(truth[0], np.full(n_rest, np.nan))
    matches["usable"] = np.append(truth[1], np.zeros(n_rest, bool))
    return matches


def _injected_sources(run, exposure_id):
    """Return the injected sources of an exposure: none in the apply workflow."""
    if run.has_table("simulated_objects"):
        sources = run.read_table("simulated_objects")
        return sources[(sources["exposure_id"] == exposure_id) & sources["injected"]]
    numbers = {name: np.zeros(0) for name in ("x", "y", "mag", "flux", "snr")}
    return Table(
        {"source_id": np.zeros(0, "U1"), **numbers, "near_galaxy": np.zeros(0, bool)}
    )


def _true_snrs(run, exposure_id, psf, sources):
    if len(sources) == 0:
        return np.zeros(0), np.zeros(0, bool)
    difference = read_difference(run.difference_path(exposure_id))
    pairs = [
        detect.true_snr(
            difference, psf, float(row["x"]), float(row["y"]), float(row["flux"])
        )
        for row in sources
    ]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], bool)


def crossmatch_table(tables, candidates, exposures, *, label_unmatched_as_bogus):
    """Stack the matches of all exposures and label what needs no person.

    Returns
    -------
    crossmatch : astropy.table.Table
    """
    stacked = vstack(tables, metadata_conflicts="silent")
    return match.label_automatically(
        stacked, candidates, exposures, unmatched_as_bogus=label_unmatched_as_bogus
    )


def write_cutouts(run_dir, candidates, *, workflow, size):
    """Cut all candidates out of their images into the cutout store.

    Parameters
    ----------
    run_dir : str
    candidates : astropy.table.Table
    workflow : str
        See `detect_on_exposure`.
    size : int
        Side of a cutout [pixel].

    Returns
    -------
    edge : (n,) bool array
        By row of ``candidates``: the cutout reaches over the edge and is padded.
    """
    run = RunDir(run_dir)
    exposures = run.read_table("exposures")
    edge = np.zeros(len(candidates), dtype=bool)
    names = np.asarray(candidates["exposure_id"])
    with cutouts.create_store(run.cutouts_path, size=size) as writer:
        for exposure_id in progress(list(dict.fromkeys(names)), label="cutouts"):
            rows = np.flatnonzero(names == exposure_id)
            science = _open_science(run, _row_of(exposures, exposure_id), workflow)
            difference = read_difference(run.difference_path(exposure_id))
            planes = (science.data, difference.reference, difference.data)
            pixels, edge[rows] = cutouts.cut(
                planes, candidates["x"][rows], candidates["y"][rows], size=size
            )
            writer.append(candidates["candidate_id"][rows], exposure_id, pixels)
    return edge
