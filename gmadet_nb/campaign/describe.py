"""What was understood of a folder of exposures, in words."""

import math

import numpy as np
from astropy.time import Time


def describe_survey(survey, folder):
    """Say what was understood of a folder of exposures, and what looks odd.

    Parameters
    ----------
    survey : gmadet_nb.campaign.survey.Survey
    folder : str or Path

    Returns
    -------
    lines : list of str
    """
    exposures = survey.exposures
    lines = [
        f"images: {len(exposures)} exposures in {folder}, {_shapes(exposures)}",
        f"telescope: {survey.telescope.alias}; {survey.telescope_reason}",
        f"filter: {_counted(exposures['filter'], 'not stated')}",
        f"target: {_counted(exposures['target'], 'not stated')}",
        f"exposure time: {_range(exposures['exptime'], 's')}",
        f"date: {_dates(exposures['mjd'])}",
        f"gain: {_range(exposures['gain'], 'electron/adu', exposures['gain_source'])}",
        f"read noise: {_range(exposures['read_noise'], 'electron')}",
        "saturation: "
        + _range(exposures["saturation"], "adu", exposures["saturation_source"])
        + f"; brightest pixel {survey.brightest:.0f} adu",
        f"WCS: {exposures['has_wcs'].sum()} of {len(exposures)} exposures, "
        f"{survey.n_same_field} on one field",
        f"pixel scale: {_range(exposures['pixel_scale'], 'arcsec/pixel')}",
        f"FWHM: {survey.fwhm:.1f} pixels (a first look)"
        if math.isfinite(survey.fwhm)
        else "FWHM: no stars were found to measure it on",
    ]
    return lines + _warnings(survey)


def _warnings(survey):
    lines = [f"set aside: {text}" for text in survey.unreadable]
    filters = set(survey.exposures["filter"])
    if len(filters) > 1:
        lines.append(
            "look: there is more than one filter; a stack must not mix them, so make "
            "one campaign for each, on a folder of its own"
        )
    odd = [
        row["name"]
        for row in survey.exposures
        if any(word in row["kind"].lower() for word in ("bias", "dark", "flat", "zero"))
    ]
    if odd:
        lines.append(
            f"look: {len(odd)} files are no exposures of the sky by IMAGETYP, "
            f"{odd[0]} among them; take them out of the folder"
        )
    return lines


def _shapes(exposures):
    return _counted([f"{row['nx']} x {row['ny']} pixels" for row in exposures], "")


def _counted(values, empty):
    names, counts = np.unique(
        [str(value) or empty for value in values], return_counts=True
    )
    if len(names) == 1:
        return str(names[0])
    order = np.argsort(counts)[::-1]
    shown = [f"{names[i]} ({counts[i]})" for i in order[:6]]
    return ", ".join(shown) + (" and others" if len(names) > 6 else "")


def _range(values, unit, sources=()):
    known = np.asarray(values)[np.isfinite(values)]
    if not known.size:
        return "not stated"
    low, high = float(known.min()), float(known.max())
    text = (
        f"{low:.6g}"
        if math.isclose(low, high, rel_tol=5e-3)
        else f"{low:.6g} to {high:.6g}"
    )
    origin = ", ".join(sorted({str(source) for source in sources} - {""}))
    where = f" ({origin})" if origin else ""
    part = f", in {known.size} of {len(values)}" if known.size < len(values) else ""
    return f"{text} {unit}{where}{part}"


def _dates(mjd):
    known = np.asarray(mjd)[np.isfinite(mjd)]
    if not known.size:
        return "not stated"
    first, last = (
        Time(value, format="mjd").strftime("%Y-%m-%d %H:%M")
        for value in (known.min(), known.max())
    )
    # A night ends where nothing was taken for six hours.
    nights = 1 + int(np.sum(np.diff(np.sort(known)) > 0.25))
    word = "night" if nights == 1 else "nights"
    part = f", stated by {known.size} of {len(mjd)}" if known.size < len(mjd) else ""
    return f"{first} to {last} UTC, {nights} {word}{part}"
