"""One frame of the demo: what each pixel expects, and its FITS file."""

import numpy as np
from astropy.io import fits
from astropy.time import Time

from gmadet_nb.campaign.demo import optics, plan, sources


def expected_counts(exposure, *, stars, galaxies, faults, variable=True):
    """Return what each pixel counts on average, before the charge bleeds.

    Parameters
    ----------
    exposure : Exposure
        Says where, when and how sharply.
    stars, galaxies, faults : astropy.table.Table
        Of the field and of the detector.
    variable : bool
        Whether the variable stars are caught at their phase of the moment; a stack
        of many epochs has them at their mean.

    Returns
    -------
    expected : (ny, nx) array
        [adu]
    """
    ny, nx = exposure.shape
    y, x = np.ogrid[:ny, :nx]
    tilt = exposure.gradient[0] * (x / (nx - 1) - 0.5)
    tilt = tilt + exposure.gradient[1] * (y / (ny - 1) - 0.5)
    expected = exposure.sky * (1 + tilt)
    mags = sources.star_mags(stars, exposure.mjd) if variable else stars["mag"].value
    x, y = exposure.to_pixels(stars)
    optics.add_stars(expected, x, y, exposure.to_flux(mags), exposure.psf)
    placed = galaxies.copy()
    placed["x"], placed["y"] = exposure.to_pixels(galaxies)
    placed["flux"] = exposure.to_flux(galaxies["mag"])
    placed["radius"] = galaxies["half_light_radius"].value / plan.PIXEL_SCALE
    optics.add_galaxies(expected, placed, exposure.psf)
    if exposure.satellite:
        height, slope = exposure.satellite
        add_satellite(
            expected, row=height * ny, slope=slope * ny / nx, peak=200.0, fwhm=3.8
        )
    hot = faults[faults["kind"] == "hot_pixel"]
    expected[np.asarray(hot["y"]), np.asarray(hot["x"])] += hot["value"]
    for fault in faults[faults["kind"] != "hot_pixel"]:
        column = expected[:, int(fault["x"])]
        if fault["kind"] == "hot_column":
            column[int(fault["y"]) :] += fault["value"]
        else:
            column *= fault["value"]
    return expected


def add_satellite(expected, *, row, slope, peak, fwhm):
    """Add a straight trail of light through the frame, in place.

    It crosses the left edge at ``row`` [pixel] and rises by ``slope``; its
    profile is a Gaussian of the given FWHM [pixel] and peak [adu].
    """
    y, x = np.ogrid[: expected.shape[0], : expected.shape[1]]
    distance = (y - row - slope * x) / np.hypot(1, slope)
    expected += peak * np.exp(-4 * np.log(2) * (distance / fwhm) ** 2)


def write_fits(path, exposure, data):
    """Write a frame as the camera would: 16 bits, or floats where pixels are lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ny, nx = exposure.shape
    if "nan_block" in exposure.oddities:
        data = np.clip(data, 0, 65535).astype(np.float32)
        top, left = int(0.3 * ny), int(0.6 * nx)
        data[top : top + ny // 25, left : left + nx // 16] = np.nan
    elif exposure.n_combined > 1:
        data = data.astype(np.float32)
    else:
        data = np.clip(np.rint(data), 0, 65535).astype(np.uint16)
    hdu = fits.PrimaryHDU(data, header=make_header(exposure))
    hdu.writeto(path)


def make_header(exposure):
    """Return the header that the camera writes, with the true WCS."""
    wcs = exposure.wcs.wcs
    start = Time(exposure.mjd, format="mjd", scale="utc", precision=3)
    combined = exposure.n_combined > 1
    gain_keyword = "EGAIN" if "egain" in exposure.oddities else "GAIN"
    hours = (exposure.mjd % 1) * 24
    cards = [
        ("TELESCOP", "DEMO-1", "fictional telescope"),
        ("INSTRUME", "DEMOCAM", "fictional camera"),
        ("OBJECT", "DEMO FIELD", "name of the field"),
        ("IMAGETYP", "Stack" if combined else "Light Frame", "kind of frame"),
        ("FILTER", "R", "filter"),
        ("EXPTIME", plan.EXPTIME, "[s] exposure, of one frame"),
        ("DATE-OBS", start.isot, "UTC at the start"),
        ("AIRMASS", round(1.05 + 0.08 * abs(hours - 2.2), 3), "at the start"),
        ("CCD-TEMP", -30.0, "[deg C] detector"),
        (gain_keyword, exposure.gain, "[electron/adu]"),
        ("RDNOISE", float(exposure.read_noise), "[electron]"),
        ("SATURATE", plan.SATURATION, "[adu]"),
        ("BUNIT", "adu", "unit of the pixels"),
    ]
    if combined:
        cards.append(("NCOMBINE", exposure.n_combined, "frames averaged"))
    for axis in (0, 1):
        cards += [
            (f"CTYPE{axis + 1}", wcs.ctype[axis], "gnomonic projection"),
            (f"CUNIT{axis + 1}", "deg", ""),
            (f"CRPIX{axis + 1}", wcs.crpix[axis], "[pixel] counted from 1"),
            (f"CRVAL{axis + 1}", wcs.crval[axis], "[deg]"),
            (f"CD{axis + 1}_1", wcs.cd[axis, 0], "[deg/pixel]"),
            (f"CD{axis + 1}_2", wcs.cd[axis, 1], "[deg/pixel]"),
        ]
    cards += [("RADESYS", "ICRS", ""), ("EQUINOX", 2000.0, "[yr]")]
    return fits.Header(cards)
