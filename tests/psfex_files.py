"""Files in the form of PSFEx's models, of Moffat stars of beta 3."""

import numpy as np
from astropy.io import fits
from numpy.polynomial.legendre import leggauss

AXES = ("X_IMAGE", "Y_IMAGE")


def seen_moffat(fwhm, dx, dy):
    """Return the light of a star in pixels at offsets from it, for a flux of 1."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / 3) - 1)
    nodes, weights = (part / 2 for part in leggauss(5))
    seen = 0.0
    for node_x, weight_x in zip(nodes, weights, strict=True):
        for node_y, weight_y in zip(nodes, weights, strict=True):
            r2 = ((dx + node_x) ** 2 + (dy + node_y) ** 2) / alpha**2
            seen = seen + weight_x * weight_y * 2 / np.pi / alpha**2 * (1 + r2) ** -3
    return seen


def sampled(fwhm, step, side=61):
    """Return a star on PSFEx's grid."""
    cells = (np.arange(side) - side // 2) * step
    return step**2 * seen_moffat(fwhm, cells, cells[:, None])


def write_psfex(path, stamps, *, step, degree, axes=AXES, **cards):
    """Write stamps as PSFEx does; its stars are from x 75 to 195 and y 5 to 155."""
    stamps = np.array(stamps, np.float32)
    n, m, _ = stamps.shape
    dim = f"({m},{m},{n})"
    mask = fits.Column("PSF_MASK", f"{stamps.size}E", array=[stamps], dim=dim)
    hdu = fits.BinTableHDU.from_columns([mask], name="PSF_DATA")
    head = {"ACCEPTED": 77, "PSF_SAMP": step, "POLNAXIS": len(axes)}
    head["POLNGRP"] = min(len(axes), 1)
    if axes:
        head |= {"POLNAME1": f"{axes[0]} ", "POLZERO1": 135.0, "POLSCAL1": 120.0}
        head |= {"POLNAME2": f"{axes[1]} ", "POLZERO2": 80.0, "POLSCAL2": 150.0}
        head["POLDEG1"] = degree
    hdu.header.update(head | cards)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path
