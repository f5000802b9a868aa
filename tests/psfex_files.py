"""Files in the form of PSFEx's models."""

import numpy as np
from astropy.io import fits

STEP = 0.7  # [pixel] of a stamp's cell


def gauss(sigma, side=41, step=STEP):
    """Return a Gaussian on PSFEx's grid."""
    at = (np.arange(side) - side // 2) * step
    return np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * sigma**2))


def write_psfex(
    path, shape, stamps, *, degree, axes=("X_IMAGE", "Y_IMAGE"), **keywords
):
    """Write stamps as PSFEx does; the position counts from 1."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(
                name="PSF_MASK",
                format=f"{stamps.size}E",
                dim=str(stamps.shape[::-1]),
                array=stamps[None].astype(np.float32),
            )
        ],
        name="PSF_DATA",
    )
    head = {"POLNAXIS": len(axes), "POLDEG1": degree, "ACCEPTED": 50, "PSF_SAMP": STEP}
    for i, (name, size) in enumerate(zip(axes, shape[::-1], strict=False), start=1):
        head |= {f"POLNAME{i}": name, f"POLZERO{i}": (size + 1) / 2}
        head |= {f"POLSCAL{i}": float(size)}
    for key, value in (head | keywords).items():
        table.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path
