"""What 01_images finds on a benchmark's image: background, noise, sources, PSF."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from gmadet_nb.imaging import photometry as phot
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.psf_fit import fit_psf
from gmadet_nb.imaging.stars import choose_stars, mark_stars


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Numbers of one image."""

    background: np.ndarray
    variance: np.ndarray
    sources: Table
    stars: Table
    psf: PSF


def measure_image(image, *, degree=2):
    """Measure an image as 01_images does."""
    background, _ = phot.fit_background(image)
    noise = phot.measure_noise(image)
    sources = phot.find_sources(image, background, np.sqrt(noise.sky_variance))
    peak = 0.8 * (image.saturation - np.median(background))
    sources["is_star"] = mark_stars(sources, saturation_peak=peak)
    sources["row"] = np.arange(len(sources))
    stars = choose_stars(sources)
    psf, kept = fit_psf(image, background, stars, degree=degree)
    for name in ("x", "y"):
        sources[name][kept["row"]] = kept[name]
    sources["psf_star"] = np.isin(sources["row"], kept["row"])
    return Measured(
        background=background,
        variance=noise.variance(image.data),
        sources=sources,
        stars=stars,
        psf=psf,
    )
