"""Toy tables of measured candidates, whose numbers tell real from bogus."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from gmadet_nb.learning.features import COLUMNS


def make_measured(is_real, *, rng, n_exposures=5, overlap=0.5):
    """Draw the numbers of 03_detect for candidates of known kind.

    Real ones scatter around the PSF's own values, bogus ones are too sharp or too
    wide; ``overlap`` is the scatter of both in units of their distance.
    """
    real = np.asarray(is_real, bool)
    n = len(real)
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    shape = np.where(real, 0.0, side) + overlap * rng.standard_normal(n) / 2
    misfit = np.where(real, 0.0, 1.0) + overlap * rng.standard_normal(n) / 2
    psf_fwhm = rng.uniform(2.5, 3.5, n)
    snr = np.exp(rng.uniform(np.log(4), np.log(100), n))
    exposure = np.arange(n) % n_exposures
    table = Table(
        {
            "candidate_id": [f"toy_{e}_c{i:05d}" for i, e in enumerate(exposure)],
            "exposure_id": [f"toy_{e}" for e in exposure],
            "x": rng.uniform(20, 2000, n) * u.pix,
            "y": rng.uniform(20, 1500, n) * u.pix,
            "snr": snr,
            "psf_chi2": np.exp(misfit),
            "peak_to_flux": 0.9 / psf_fwhm**2 * np.exp(-shape),
            "elongation": 1 + np.abs(rng.normal(0, 0.2, n)),
            "fwhm": psf_fwhm * np.exp(0.3 * shape) * u.pix,
            "psf_fwhm": psf_fwhm * u.pix,
            "n_negative": rng.poisson(np.where(real, 0.2, 1.0)).astype(np.int32),
            "dipole": np.abs(rng.normal(0, 0.2, n)),
            "x_err": psf_fwhm / snr * u.pix,
            "y_err": psf_fwhm / snr * u.pix,
            "reference_snr": rng.normal(0, 1, n),
            "reference_distance": rng.uniform(0, 100, n) * u.pix,
            "flags": np.zeros(n, np.int32),
        }
    )
    table["label"] = np.where(real, "real", "bogus")
    return table


def add_numbers(candidates, *, rng):
    """Give toy candidates numbers that tell real from bogus about as well."""
    measured = make_measured(candidates["auto_label"] == "real", rng=rng)
    for name in COLUMNS:
        if name not in ("snr", "psf_fwhm"):
            candidates[name] = measured[name]
