"""PSF models of PSFEx, read as a `PSF`.

A ``.psf`` file holds a cube of stamps, each the factor of one term of a polynomial in
the position (Bertin 2011, ASP Conf. Ser. 442, 435). Its pixels count from 1, and its
stamps are sampled in steps of their own, ``PSF_SAMP`` detector pixels.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import map_coordinates

from gmadet_nb.errors import BadImageError
from gmadet_nb.imaging.psf import PSF, polynomial_terms

_AXES = ("X_IMAGE", "Y_IMAGE")
_READ_ERRORS = (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError)


class PsfexModel:
    """What a ``.psf`` file says, evaluated by PSFEx's own rules.

    Parameters
    ----------
    path : str or Path

    Attributes
    ----------
    step : float
        Size of a stamp's cell [detector pixel].
    degree : int
        Of the polynomial in (x, y).
    n_stars : int
        Stars that PSFEx accepted.

    Raises
    ------
    BadImageError
        If it is no such file, or the PSF varies with something else than position.
    """

    def __init__(self, path):
        try:
            with fits.open(path, memmap=False) as hdus:
                header, self._stamps = hdus[1].header, _stamps(hdus[1].data)
            axes = [header[f"POLNAME{i + 1}"] for i in range(header["POLNAXIS"])]
            self.step, self.n_stars = float(header["PSF_SAMP"]), int(header["ACCEPTED"])
            self.degree = int(header["POLDEG1"]) if axes else 0
            self._zero = [float(header[f"POLZERO{i + 1}"]) for i in range(len(axes))]
            self._scale = [float(header[f"POLSCAL{i + 1}"]) for i in range(len(axes))]
        except _READ_ERRORS as error:
            raise BadImageError(
                f"{Path(path).name} must be a PSF model of PSFEx (.psf), but reading "
                f"it failed: {error!r}. Write it again, or set psf_source to 'image'."
            ) from error
        if tuple(axes) not in ((), _AXES):
            raise BadImageError(
                f"The PSF of {Path(path).name} must vary with X_IMAGE and Y_IMAGE "
                f"alone, got {', '.join(axes)}. Set PSFVAR_KEYS to X_IMAGE,Y_IMAGE."
            )
        n_terms = (self.degree + 1) * (self.degree + 2) // 2
        if len(self._stamps) != n_terms or not self.step > 0:
            raise BadImageError(
                f"{Path(path).name} must hold {n_terms} stamps for its degree "
                f"{self.degree} in steps above 0, got {len(self._stamps)} in steps of "
                f"{self.step}. Write it again."
            )

    def fine(self, x, y):
        """Return the stamp at (x, y) [pixel, 0-based], `step` pixels a cell."""
        u, v = (
            (place + 1 - zero) / scale
            for place, zero, scale in zip(
                (x, y), self._zero or (0, 0), self._scale or (1, 1), strict=True
            )
        )
        powers = [
            (i, j) for j in range(self.degree + 1) for i in range(self.degree + 1 - j)
        ]
        terms = np.array([u**i * v**j for i, j in powers])
        return np.tensordot(terms, self._stamps, axes=1)


def _stamps(table):
    """Return the (n_terms, k, k) stamps of the one row of a PSF_DATA table."""
    stamps = np.asarray(table["PSF_MASK"][0], dtype=float)
    return stamps if stamps.ndim == 3 else stamps[None]


def read_psfex(path, shape):
    """Read a PSF model of PSFEx for an exposure.

    Parameters
    ----------
    path : str or Path
    shape : tuple of int
        (ny, nx) of the exposure.

    Returns
    -------
    psf : PSF
        With flux 1 within PSFEx's own stamp, whatever aperture PSFEx scaled it to.

    Raises
    ------
    BadImageError
        See `PsfexModel`.
    """
    model = PsfexModel(path)
    side = model._stamps.shape[1]
    middle = (side - 1) / 2
    radius = int(middle * model.step)
    # As finely as PSFEx has it, so that no detail is lost.
    oversampling = int(np.clip(np.ceil(1 / model.step), 1, 4))
    offsets = np.arange(-radius * oversampling, radius * oversampling + 1)
    cells = middle + offsets / (oversampling * model.step)
    grid = np.meshgrid(cells, cells, indexing="ij")
    # A polynomial is known from as many places as it has terms, and more.
    axes = [np.linspace(0, n - 1, model.degree + 1) for n in shape]
    y, x = (place.ravel() for place in np.meshgrid(*axes, indexing="ij"))
    values = np.array(
        [
            map_coordinates(model.fine(*place), grid, order=3, mode="constant")
            for place in zip(x, y, strict=True)
        ]
    )
    values /= values[len(values) // 2].sum() / oversampling**2
    terms = polynomial_terms(x, y, shape, model.degree)
    return PSF(
        coefficients=np.tensordot(np.linalg.pinv(terms.T), values, axes=1),
        oversampling=oversampling,
        degree=model.degree,
        shape=tuple(shape),
        n_stars=model.n_stars,
    )
