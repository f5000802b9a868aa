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
from gmadet_nb.imaging.psf_fit import FIELD_MARGIN
from gmadet_nb.imaging.psf_stamps import share_within

# Pixels counted from 1, by whatever centroid; without PSFVAR_KEYS there are none.
_AXES = ((), ("X_IMAGE", "Y_IMAGE"), ("XWIN_IMAGE", "YWIN_IMAGE"))
_LEAST_REACH = 3.0  # [pixel]
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
    side : int
        Cells along an axis of a stamp; the star is in the middle one.

    Raises
    ------
    BadImageError
        If it is no such file, or the PSF varies with something else than position.
    """

    def __init__(self, path):
        try:
            with fits.open(path, memmap=False) as hdus:
                header, self._stamps = hdus[1].header, _stamps(hdus[1].data)
                n_models = len(hdus) - 1
            axes = [header[f"POLNAME{i + 1}"] for i in range(header["POLNAXIS"])]
            n_groups = header["POLNGRP"] if axes else 1
            self.step, self.n_stars = float(header["PSF_SAMP"]), int(header["ACCEPTED"])
            self.degree = int(header["POLDEG1"]) if axes else 0
            self._zero = [float(header[f"POLZERO{i + 1}"]) for i in range(len(axes))]
            self._scale = [float(header[f"POLSCAL{i + 1}"]) for i in range(len(axes))]
        except _READ_ERRORS as error:
            raise BadImageError(
                f"{Path(path).name} must be a PSF model of PSFEx (.psf), but reading "
                f"it failed: {error!r}. Write it again, or set psf_source to 'image'."
            ) from error
        if tuple(axes) not in _AXES or n_groups != 1:
            raise BadImageError(
                f"The PSF of {Path(path).name} must vary with X_IMAGE and Y_IMAGE "
                f"alone, got {', '.join(axes)} in {n_groups} group(s). Set PSFVAR_KEYS "
                "to X_IMAGE,Y_IMAGE and PSFVAR_GROUPS to 1,1."
            )
        self.side = self._stamps.shape[1]
        self._check(Path(path).name, n_models)

    def _check(self, name, n_models):
        """Refuse stamps that are no PSF of one image."""
        if n_models != 1:
            raise BadImageError(
                f"{name} must hold the model of one image, got {n_models}, of as many "
                "extensions. Run PSFEx on the catalogue of one of them."
            )
        n_terms = (self.degree + 1) * (self.degree + 2) // 2
        if len(self._stamps) != n_terms or not self.step > 0:
            raise BadImageError(
                f"{name} must hold {n_terms} stamps for its degree "
                f"{self.degree} in steps above 0, got {len(self._stamps)} in steps of "
                f"{self.step}. Write it again."
            )
        if self._stamps.shape[1] != self._stamps.shape[2] or not all(self._scale):
            raise BadImageError(
                f"The stamps of {name} must be square, and POLSCAL other than 0, got "
                f"{self._stamps.shape[1:]} and {self._scale}. Write it again."
            )
        if not (self.n_stars > 0 and self._stamps[0].sum() > 0):
            raise BadImageError(
                f"{name} must be measured on stars and hold light, got "
                f"{self.n_stars} stars. PSFEx found none that fit."
            )
        reach = (self.side // 2) * self.step
        if not np.isfinite(self._stamps).all() or reach < _LEAST_REACH:
            raise BadImageError(
                f"The stamps of {name} must be finite and reach {_LEAST_REACH} pixels "
                f"or more from their middle, got {reach:g}. Raise PSF_SIZE."
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

    def field(self, shape):
        """Return the box around PSFEx's stars in an exposure of (ny, nx), or None.

        POLSCAL is the width of their places, and POLZERO its middle.
        """
        if self.degree == 0:
            return None
        box = []
        for zero, scale, size in zip(self._zero, self._scale, shape[::-1], strict=True):
            reach = (0.5 + FIELD_MARGIN) * abs(scale)
            ends = zero - 1 - reach, zero - 1 + reach
            box += [float(np.clip(end, 0, size - 1)) for end in ends]
        return tuple(box)


def psfex_path(source, exposure_id):
    """Return the model of an exposure: the file ``source``, or one of that folder.

    Raises
    ------
    BadImageError
        If it is not there.
    """
    path = Path(source)
    path = path if path.is_file() else path / f"{exposure_id}.psf"
    if not path.is_file():
        raise BadImageError(
            f"psf_source must be 'image', a .psf file or a folder that holds "
            f"{path.name}, and {str(source)!r} has none. Put PSFEx's model of this "
            "exposure there."
        )
    return path


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
        With flux 1 within its ``flux_radius``, that of PSFEx's own stamp, whatever
        aperture PSFEx scaled it to: a PSF_SIZE below some 8 FWHM leaves out wings.

    Raises
    ------
    BadImageError
        See `PsfexModel`.
    """
    model = PsfexModel(path)
    radius = int((model.side // 2) * model.step)
    # Twice as finely as PSFEx has it, so that the splines in between lose no detail.
    oversampling = int(np.clip(np.ceil(2 / model.step), 2, 4))
    half = radius * oversampling + oversampling // 2
    cells = np.arange(-half, half + 1) / (oversampling * model.step) + model.side // 2
    grid = np.meshgrid(cells, cells, indexing="ij")
    # A polynomial is known from as many places along each axis as it has powers.
    axes = [np.linspace(0, n - 1, model.degree + 1) for n in shape]
    y, x = (place.ravel() for place in np.meshgrid(*axes, indexing="ij"))
    values = np.array(
        [
            map_coordinates(model.fine(*place), grid, order=3, mode="constant")
            for place in zip(x, y, strict=True)
        ]
    )
    values *= share_within(len(cells), radius, oversampling)
    values /= values[len(values) // 2].sum() / oversampling**2
    terms = polynomial_terms(x, y, shape, model.degree)
    return PSF(
        coefficients=np.tensordot(np.linalg.pinv(terms.T), values, axes=1),
        oversampling=oversampling,
        degree=model.degree,
        shape=tuple(shape),
        n_stars=model.n_stars,
        field=model.field(shape),
    )
