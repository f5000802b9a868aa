"""03: the difference of one exposure, and its candidates."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack

from gmadet_nb.campaign.steps.products import (
    open_science,
    read_psf_and_sources,
    row_of,
    write_difference,
)
from gmadet_nb.campaign.steps.reference import Choice, make_reference
from gmadet_nb.errors import BadImageError, BadInputError, BadParameterError
from gmadet_nb.files.images import open_exposure
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.imaging import detect
from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging import subtract as subtraction_tools
from gmadet_nb.imaging.ghosts import describe, find_ghosts
from gmadet_nb.imaging.hosts import find_reference_sources
from gmadet_nb.imaging.measure import measure_candidates
from gmadet_nb.imaging.quality import judge
from gmadet_nb.imaging.repeats import mark_repeats
from gmadet_nb.imaging.stars import choose_stars
from gmadet_nb.imaging.streaks import find_streaks, mask_streaks
from gmadet_nb.sky import references

logger = logging.getLogger(__name__)

_SUBTRACTION_UNITS = {
    "science_fwhm": u.pix,
    "reference_fwhm": u.pix,
    "alignment_rms": u.pix,
}


@dataclass(frozen=True, kw_only=True)
class Search:
    """What the search of one exposure found.

    Attributes
    ----------
    row : dict
        One row of the subtractions table.
    candidates, negatives, streaks : astropy.table.Table or None
        New light, light that is missing, and trails; None where there is no
        difference to look at.
    """

    row: dict
    candidates: Table | None = None
    negatives: Table | None = None
    streaks: Table | None = None


def check_subtraction(subtraction):
    """Return ``subtraction`` if it is a way to subtract.

    Raises
    ------
    BadParameterError
        If it is not.
    """
    known = (*subtraction_tools.METHODS, "none")
    if subtraction not in known:
        raise BadParameterError(
            f"subtraction must be one of {', '.join(known)}, got {subtraction!r}."
        )
    return subtraction


def detect_on_exposure(
    exposure_id,
    *,
    run_dir,
    workflow,
    subtraction,
    reference,
    reference_gain,
    n_stack,
    kernel_degree,
    threshold,
):
    """Subtract, detect and measure on one exposure, and write its difference.

    Parameters
    ----------
    exposure_id : str
    run_dir : str
    workflow : str
        ``train`` takes the exposure with injected sources, ``apply`` as it is.
    subtraction : str
        ``auto``, ``zogy``, ``kernel`` or ``none``.
    reference : str
        ``best``, ``stack`` or the path of a FITS file.
    reference_gain : float or "auto"
        Of that file [electron/adu]; "auto" takes its header's.
    n_stack : int
        At most so many exposures in a stack.
    kernel_degree : int
        Of the matching kernel over the field.
    threshold : float
        [sigma]

    Returns
    -------
    found : Search
    """
    run = RunDir(run_dir)
    exposures = run.read_table("exposures")
    row = row_of(exposures, exposure_id)
    science = open_science(run, row, workflow)
    psf, sources = read_psf_and_sources(run, exposure_id)
    quality = _empty_subtraction(exposure_id, psf.fwhm)
    try:
        difference = _make_difference(
            run,
            exposures,
            row,
            science,
            (psf, sources),
            subtraction,
            Choice(name=reference, gain=reference_gain, n_stack=n_stack),
            kernel_degree,
            quality,
        )
    except BadImageError as error:
        quality["reason"] = str(error)
        # That of an earlier search must not pass for this one's.
        run.difference_path(exposure_id).unlink(missing_ok=True)
        logger.info("%s not subtracted: %s", exposure_id, error)
        return Search(row=quality)
    difference, found = _search(difference, science, quality, threshold)
    if difference.method != "none":
        _judge_ghosts(found.row, found.candidates, sources, fwhm=psf.fwhm)
    write_difference(run.difference_path(exposure_id), difference, science.header)
    return found


def _search(difference, science, quality, threshold):
    """Find what is on a difference, and note in ``quality`` how much."""
    psf = difference.psf
    snr = detect.significance(difference, psf)
    streaks = find_streaks(snr[:0], science.exposure_id, fwhm=psf.fwhm)
    negatives = None
    # Without a reference the stars themselves fill the image: they are no noise.
    if difference.method != "none":
        factor = quality["noise_factor"] = difference.noise_factor
        snr = snr / factor
        streaks = find_streaks(snr, science.exposure_id, fwhm=psf.fwhm)
        if len(streaks):
            mask = mask_streaks(difference.mask, streaks, fwhm=psf.fwhm)
            difference = replace(difference, mask=mask)
            snr = detect.significance(difference, psf) / factor
    quality["good"], quality["reason"] = judge(difference)
    there = _reference_sources(difference)
    tables = []
    for sign in (1, -1) if difference.method != "none" else (1,):
        x, y = detect.find_candidates(
            sign * snr, detection_threshold=threshold, fwhm=psf.fwhm
        )
        tables.append(
            measure_candidates(
                difference,
                science,
                psf,
                x,
                y,
                reference_sources=there,
                snr=snr,
                sign=sign,
            )
        )
    candidates, negatives = tables[0], tables[1] if len(tables) > 1 else None
    quality["n_candidates"], quality["n_streaks"] = len(candidates), len(streaks)
    quality["n_negatives"] = 0 if negatives is None else len(negatives)
    found = Search(
        row=quality, candidates=candidates, negatives=negatives, streaks=streaks
    )
    return difference, found


def _judge_ghosts(quality, candidates, sources, *, fwhm):
    """Note ghosts of stars; where they are clear the subtraction is not good."""
    ghosts = find_ghosts(candidates, sources, fwhm=fwhm)
    if not ghosts.clear:
        return
    quality["n_ghosts"] = ghosts.n
    words = describe(ghosts, len(candidates))
    quality["good"] = False
    quality["reason"] = "; ".join(filter(None, (quality["reason"], words)))
    logger.info("%s: %s", quality["exposure_id"], words)


def _empty_subtraction(exposure_id, fwhm):
    row = {"exposure_id": exposure_id, "method": "", "convolved": ""}
    row |= {"reference": "", "n_reference": 0}
    row |= {"science_fwhm": fwhm, "reference_fwhm": np.nan, "n_stars": 0}
    row |= {"alignment_rms": np.nan, "alignment_method": "", "kernel_sum": np.nan}
    row |= {"kernel_sum_scatter": np.nan, "noise_width": np.nan, "star_width": np.nan}
    row |= {"star_share": np.nan, "dipole_share": np.nan, "noise_factor": 1.0}
    row |= {"n_candidates": 0, "n_negatives": 0, "n_streaks": 0, "n_ghosts": 0}
    return row | {"good": False, "reason": ""}


def _make_difference(
    run, exposures, row, science, measured, subtraction, choice, degree, quality
):
    """Make one difference and note in ``quality`` how it was made."""
    psf, sources = measured
    # Noise and stars come from the exposure as it was taken: injected sources are
    # neither sky nor at home in the reference.
    original = open_exposure(row) if science.header.get("SIMULATD") else science
    variance = phot.measure_noise(original).variance(science.data)
    if subtraction == "none":
        background, _ = phot.fit_background(original)
        difference = subtraction_tools.no_reference(science, variance, background, psf)
    else:
        made = make_reference(run, exposures, row, original, sources, choice)
        quality |= {"reference": made.text, "n_reference": made.n_images}
        quality |= {"alignment_rms": made.alignment_rms}
        quality |= {"alignment_method": made.alignment_method}
        if subtraction != "kernel":
            made = references.measure_reference_psf(
                made, choose_stars(sources), degree=psf.degree
            )
        quality["reference_fwhm"] = made.fwhm
        difference = subtraction_tools.subtract(
            science,
            variance,
            made,
            psf=psf,
            stars=sources[sources["is_star"]],
            method=subtraction,
            degree=degree,
        )
    for name in ("method", "convolved", "n_stars", "kernel_sum", "kernel_sum_scatter"):
        quality[name] = getattr(difference, name)
    for name in ("noise_width", "star_width", "star_share", "dipole_share"):
        quality[name] = getattr(difference.quality, name)
    return difference


def _reference_sources(difference):
    """Find the sources of the matched reference, on the science exposure's pixels."""
    if not np.isfinite(difference.reference).any():
        return Table({"x": [], "y": []})
    noise = float(np.median(difference.noise))
    return find_reference_sources(difference, noise)["x", "y"]


def subtractions_table(results):
    """Make the subtractions table of the results of `detect_on_exposure`."""
    table = Table(rows=[found.row for found in results])
    for name, unit in _SUBTRACTION_UNITS.items():
        table[name].unit = unit
    return table


def candidates_table(results, exposures):
    """Stack the candidates of the results of `detect_on_exposure`.

    Parameters
    ----------
    results : list of Search
    exposures : astropy.table.Table
        Their pixel scales tell which candidates stay with the detector.

    Returns
    -------
    candidates : astropy.table.Table

    Raises
    ------
    BadInputError
        If no exposure could be searched.
    """
    tables = [found.candidates for found in results if found.candidates is not None]
    if not tables:
        reasons = "; ".join(
            f"{found.row['exposure_id']}: {found.row['reason']}" for found in results
        )
        raise BadInputError(
            f"At least one exposure must be subtracted, and none could: {reasons}"
        )
    scales = dict(zip(exposures["exposure_id"], exposures["pixel_scale"], strict=True))
    return mark_repeats(vstack(tables, metadata_conflicts="silent"), scales)


def stack_found(results, name):
    """Stack ``negatives`` or ``streaks`` of all exposures; an empty table for none."""
    tables = [getattr(found, name) for found in results]
    tables = [table for table in tables if table is not None]
    return vstack(tables, metadata_conflicts="silent") if tables else Table()


def of_exposure(table, exposure_id):
    """Return the rows of one exposure; a table without columns has none."""
    return table[table["exposure_id"] == exposure_id] if len(table) else table


def check_candidates(candidates, detection_threshold):
    """Raise if there is nothing to classify.

    Raises
    ------
    BadInputError
    """
    if len(candidates) == 0:
        raise BadInputError(
            "At least one candidate must be found to go on, and there is none above "
            f"detection_threshold, {detection_threshold} sigma. Lower it."
        )
