"""A reference for an exposure: a file, the night's best exposure, or a stack."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gmadet_nb.errors import BadImageError, BadInputError
from gmadet_nb.files.fits_files import read_pixels
from gmadet_nb.files.headers import header_values
from gmadet_nb.files.images import (
    MASK_BITS,
    UNUSABLE,
    Image,
    header_wcs,
    make_mask,
    open_exposure,
)
from gmadet_nb.files.telescopes import load_telescope
from gmadet_nb.imaging.align import find_alignment, noise_correlation, resample
from gmadet_nb.imaging.photometry import (
    clipped_median,
    find_sources,
    fit_background,
    measure_noise,
)
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.psf_fit import fit_psf
from gmadet_nb.imaging.stars import choose_stars, mark_stars

# Above this many standard deviations from the median of the stack a pixel is a
# cosmic ray, or a star that moved.
_CLIP_SIGMA = 4.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A reference on the pixels of one science exposure.

    Attributes
    ----------
    data : (ny, nx) float32 array
        [adu]
    variance : (ny, nx) float32 array
        [adu^2]
    mask : (ny, nx) uint8 array
        Bits of `gmadet_nb.files.images.MASK_BITS`.
    fwhm : float
        Of its stars [pixel of the science exposure].
    text : str
        What it was made of.
    n_images : int
    alignment_rms : float
        Worst of its images' [pixel].
    alignment_method : str
    correlation : float
        Of its noise, see `gmadet_nb.imaging.align.noise_correlation`.
    psf : PSF or None
        Of its stars, on the same pixels; None until `measure_reference_psf`.
    """

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    fwhm: float
    text: str
    n_images: int
    alignment_rms: float
    alignment_method: str
    correlation: float
    psf: PSF | None = None


def rank_exposures(exposures, *, without):
    """Rank the used exposures by their depth, the sharp ones first.

    Noise over the flux of stars, so that a cloud counts, times the square of the FWHM:
    once for the noise under a star, and once more since a reference that is broader
    than the exposure cannot be matched to it well.

    Parameters
    ----------
    exposures : astropy.table.Table
        The exposures table.
    without : str
        ``exposure_id`` of the exposure that gets the reference: it is left out,
        as are those in other filters.

    Returns
    -------
    ranked : astropy.table.Table
        Best first.

    Raises
    ------
    BadImageError
        If none is left.
    """
    science = exposures[exposures["exposure_id"] == without][0]
    others = exposures[
        exposures["used"]
        & (exposures["exposure_id"] != without)
        & (exposures["filter"] == science["filter"])
    ]
    if len(others) == 0:
        raise BadImageError(
            f"A reference for {str(without)!r} must be made of other good exposures in "
            f"filter {str(science['filter'])!r}, and there is none. "
            "Set 'reference' to a file."
        )
    light = np.asarray(others["bright_flux"], dtype=float)
    if not np.isfinite(light).all():
        light = np.asarray(others["exptime"], dtype=float)
    depth = np.asarray(others["noise"]) / light * np.asarray(others["fwhm"]) ** 2
    return others[np.argsort(depth, kind="stable")]


def load_reference_file(path, telescope, *, gain="auto"):
    """Read a reference image and measure its stars, noise and PSF.

    Parameters
    ----------
    path : str or Path
    telescope : str
        Alias of the telescope file that names its header keywords.
    gain : float or "auto"
        [electron/adu]; "auto" takes the header's.

    Returns
    -------
    image : Image
    noise : gmadet_nb.imaging.photometry.Noise
    sources : astropy.table.Table
    fwhm : float
        [pixel of the reference]

    Raises
    ------
    BadInputError
        If it cannot be read or measured, or neither keyword nor parameter gives its
        gain.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(
            "reference must be 'stack', 'best' or the path of a FITS file, got "
            f"{str(path)!r}, which is no file."
        )
    data, header = read_pixels(path)
    values = header_values(header, load_telescope(telescope))
    gain = values["gain"] if gain == "auto" else float(gain)
    if gain is None:
        raise BadInputError(
            f"The gain [electron/adu] of the reference {path.name} must be known, "
            "since the noise of its stars depends on it, and its header states none. "
            "Set the parameter 'reference_gain'."
        )
    saturation = values["saturation"] or np.inf
    image = Image(
        data=data,
        mask=make_mask(data, saturation),
        gain=gain,
        read_noise=values["read_noise"] or 0.0,
        saturation=saturation,
        zero_point=np.nan,
        exposure_id=path.stem,
        filter=values["filter"] or "",
        wcs=header_wcs(header),
        header=header,
    )
    background, _ = fit_background(image)
    noise = measure_noise(image)
    sources = find_sources(image, background, np.sqrt(noise.sky_variance))
    peak = 0.8 * saturation - noise.level
    sources["is_star"] = mark_stars(sources, saturation_peak=peak)
    psf, _ = fit_psf(image, background, choose_stars(sources), degree=0)
    return image, noise, sources, psf.fwhm


def place_reference(image, noise, sources, fwhm, *, science, science_sources):
    """Put one image on the pixels of a science exposure.

    Returns
    -------
    reference : Reference
    """
    alignment = find_alignment(
        science_sources,
        sources,
        shape=science.data.shape,
        science_wcs=science.wcs,
        reference_wcs=image.wcs,
    )
    data, mask = resample(image.data, image.mask, alignment)
    # The variance is smooth where the image is: it needs no splines of its own,
    # and holds for flux, so that a change of pixel area counts once.
    variance = noise.variance(data / alignment.area_ratio) * alignment.area_ratio
    return Reference(
        data=data,
        variance=variance.astype(np.float32),
        mask=mask,
        fwhm=fwhm / np.sqrt(alignment.area_ratio),
        text=image.exposure_id,
        n_images=1,
        alignment_rms=alignment.rms,
        alignment_method=alignment.method,
        correlation=noise_correlation(alignment),
    )


def measure_reference_psf(reference, stars, *, degree):
    """Measure the PSF of a reference on the stars of the science exposure.

    Parameters
    ----------
    reference : Reference
    stars : astropy.table.Table
        Fit for a PSF: ``x``, ``y`` [pixel], ``flux``, ``half_light_radius``.
    degree : int

    Returns
    -------
    reference : Reference
        With its PSF and the FWHM of it; as it was where its stars are too few.
    """
    image = Image(
        data=reference.data,
        mask=reference.mask,
        gain=1.0,
        read_noise=0.0,
        saturation=np.inf,
        zero_point=np.nan,
        exposure_id="reference",
    )
    seen = stars.copy()
    seen["half_light_radius"] = np.full(len(stars), reference.fwhm / 2)
    try:
        background, _ = fit_background(image)
        psf, _ = fit_psf(image, background, seen, degree=degree)
    except BadImageError:
        return reference
    return replace(reference, psf=psf, fwhm=psf.fwhm)


def stack_references(references, science_sources):
    """Average references that lie on the same pixels, outliers left out.

    Each is first brought to the flux of the first by the stars, and to its
    background. A pixel that is masked in one is taken from the others.

    Parameters
    ----------
    references : list of Reference
    science_sources : astropy.table.Table
        ``x``, ``y`` [pixel] and ``flux`` of stars: where fluxes are compared.

    Returns
    -------
    stack : Reference
    """
    scaled = [references[0].data]
    variances = [references[0].variance]
    for other in references[1:]:
        scale, level = _match_flux(references[0], other, science_sources)
        scaled.append(scale * other.data + level)
        variances.append(scale**2 * other.variance)
    data, variance = np.stack(scaled), np.stack(variances)
    good = np.stack([(r.mask & UNUSABLE) == 0 for r in references])
    good &= _near_median(data, variance, good)
    n = good.sum(axis=0)
    # A saturated pixel stays one though the others have it: a star of which a part is
    # missing in some of the images has a PSF that no other star has.
    full = np.bitwise_or.reduce([r.mask & MASK_BITS["saturated"] for r in references])
    # Where no image is good the plain mean stands, and the mask says so.
    weight = np.where(n > 0, good, True) / np.where(n > 0, n, len(references))
    masks = np.stack([r.mask for r in references])
    mask = np.where(n > 0, 0, np.bitwise_and.reduce(masks, axis=0)).astype(np.uint8)
    mask[(n == 0) & (mask == 0)] = MASK_BITS["bad"]
    mask |= full
    return Reference(
        data=(weight * data).sum(axis=0).astype(np.float32),
        variance=(weight**2 * variance).sum(axis=0).astype(np.float32),
        mask=mask,
        fwhm=float(np.mean([r.fwhm for r in references])),
        text=f"stack of {len(references)}, best {references[0].text}",
        n_images=len(references),
        alignment_rms=max(r.alignment_rms for r in references),
        alignment_method=references[0].alignment_method,
        correlation=float(np.mean([r.correlation for r in references])),
    )


def _near_median(data, variance, good):
    """Say which pixels are near the median of those that are good.

    The PSFs differ from image to image, so a star may depart by a share of its
    light; a cosmic ray departs by all of it.
    """
    if len(data) < 3:
        return np.ones_like(good)
    masked = np.where(good, data, np.nan)
    some = good.any(axis=0)
    middle = np.zeros(data.shape[1:], dtype=np.float32)
    middle[some] = np.nanmedian(masked[:, some], axis=0)
    light = np.clip(middle - np.median(middle), 0, None)
    tolerance = _CLIP_SIGMA * np.sqrt(variance) + 0.5 * light
    return np.abs(data - middle) < tolerance


def _match_flux(first, other, stars):
    """Return the scale and the level that bring ``other`` to ``first``."""
    usable = ((first.mask | other.mask) & UNUSABLE) == 0
    radius = max(1.5 * first.fwhm, 1.5 * other.fwhm, 3.0)
    sums = [_sums(r.data, usable, stars, radius) for r in (first, other)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = sums[0] / sums[1]
    scale = clipped_median(ratio[np.isfinite(ratio) & (ratio > 0)])
    if not np.isfinite(scale):
        raise BadImageError(
            f"The exposures of a stack must share stars, and {other.text!r} shows none "
            f"that {first.text!r} has."
        )
    level = clipped_median((first.data - scale * other.data)[usable][::7])
    return np.float32(scale), np.float32(level)


def _sums(data, usable, stars, radius):
    """Sum the light of bright stars in circles, each less the ring around it."""
    reach = int(np.ceil(1.6 * radius))
    offsets = np.arange(-reach, reach + 1)
    distance = np.hypot(offsets[:, None], offsets[None, :])
    ring, disk = (distance > 1.2 * radius) & (distance <= reach), distance <= radius
    bright = stars[np.argsort(np.asarray(stars["flux"]))[::-1][:150]]
    sums = np.full(len(bright), np.nan)
    for k, star in enumerate(bright):
        row, column = round(float(star["y"])), round(float(star["x"]))
        rows, columns = (
            slice(row - reach, row + reach + 1),
            slice(column - reach, column + reach + 1),
        )
        if row < reach or column < reach:
            continue
        patch, good = data[rows, columns], usable[rows, columns]
        if patch.shape != disk.shape or not good[disk].all():
            continue
        sums[k] = (patch[disk] - np.median(patch[ring])).sum()
    return sums


def open_night_exposure(row):
    """Read an exposure of the night as a reference: the image and its noise."""
    image = open_exposure(row)
    return image, measure_noise(image)
