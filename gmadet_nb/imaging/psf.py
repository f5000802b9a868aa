"""The point spread function of an exposure, measured on its own stars.

Each pixel of an oversampled stamp is a polynomial in the position on the
detector, so that all stars share in the shape at every place. The stamp is the
effective PSF (Anderson & King 2000, PASP 112, 1360): the response of a pixel to
a point source at a given offset, the pixel's own width included.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy.io import fits
from scipy.ndimage import map_coordinates, spline_filter

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path

_FIELD = ("XLOW", "XHIGH", "YLOW", "YHIGH")


@dataclass(frozen=True, kw_only=True)
class PSF:
    """A position-dependent point spread function.

    Attributes
    ----------
    coefficients : (n_terms, k, k) float array
        Oversampled stamps, one for each term of the polynomial in (x, y); the
        middle is the source's center.
    oversampling : int
        Stamp pixels per detector pixel along an axis.
    degree : int
        Degree of the polynomial.
    shape : tuple of int
        (ny, nx) of the exposure.
    n_stars : int
        Stars it was measured on.
    field : tuple of float or None
        (x low, x high, y low, y high) around these stars [pixel]; outside it the PSF is
        that of the nearest place within, since a polynomial goes wild beyond its data.
        None trusts it over the whole exposure.
    signed : bool
        True for the PSF of a filtered image, whose wings may well be negative; those
        of light itself are clipped at 0.
    """

    coefficients: np.ndarray
    oversampling: int
    degree: int
    shape: tuple[int, int]
    n_stars: int
    field: tuple[float, float, float, float] | None = None
    signed: bool = False

    @property
    def radius(self):
        """Half the side of an evaluated stamp [pixel]; it is 2 radius + 1 wide."""
        return (self.coefficients.shape[1] // 2) // self.oversampling

    @cached_property
    def _filtered(self):
        return np.array([spline_filter(term, order=3) for term in self.coefficients])

    def __call__(self, x, y):
        """Return the PSF of a source at (x, y).

        Parameters
        ----------
        x, y : float
            Position [pixel, 0-based].

        Returns
        -------
        stamp : (k, k) float array
            Sum 1; its middle is the pixel nearest to (x, y).
        """
        stamp = np.tensordot(self._terms(x, y), self._filtered, axes=1)
        offsets = np.arange(-self.radius, self.radius + 1)
        middle = self.coefficients.shape[1] // 2
        rows = middle + (offsets + round(float(y)) - y) * self.oversampling
        columns = middle + (offsets + round(float(x)) - x) * self.oversampling
        grid = np.meshgrid(rows, columns, indexing="ij")
        pixels = map_coordinates(stamp, grid, order=3, prefilter=False, mode="nearest")
        return self._normalize(pixels)

    def _normalize(self, pixels):
        # Wings fitted to noise and neighbours dip below 0, where no light can be.
        pixels = pixels if self.signed else np.clip(pixels, 0, None)
        return pixels / pixels.sum()

    def _terms(self, x, y):
        """Return the polynomial's terms at (x, y), or at the edge of the field."""
        if self.field is not None:
            x, y = np.clip(x, *self.field[:2]), np.clip(y, *self.field[2:])
        return polynomial_terms(x, y, self.shape, self.degree)

    def centered(self, x, y):
        """Return the PSF at (x, y) with its center in the middle of the stamp."""
        stamp = np.tensordot(self._terms(x, y), self.coefficients, axes=1)
        pixels = stamp[
            _phase(self) :: self.oversampling, _phase(self) :: self.oversampling
        ]
        return self._normalize(pixels)

    def fwhm_at(self, x, y):
        """Return the full width at half maximum at (x, y) [pixel].

        It is the diameter of the circle with the area of the half-maximum contour.
        """
        return float(self._fwhm_coefficients @ self._terms(x, y))

    @cached_property
    def _fwhm_coefficients(self):
        """The width as a polynomial of the stamps' own degree, fitted on a grid."""
        side = 1 if self.degree == 0 else 2 * self.degree + 1
        left, right, low, high = self.field or (
            *(0, self.shape[1] - 1),
            *(0, self.shape[0] - 1),
        )
        x, y = np.meshgrid(np.linspace(left, right, side), np.linspace(low, high, side))
        terms = polynomial_terms(x.ravel(), y.ravel(), self.shape, self.degree)
        widths = [self._measure_fwhm(weights) for weights in terms.T]
        return np.linalg.lstsq(terms.T, np.array(widths), rcond=None)[0]

    def _measure_fwhm(self, weights):
        fine = _refine(np.tensordot(weights, self.coefficients, axes=1), 4)
        area = np.count_nonzero(fine > 0.5 * fine.max()) / (4 * self.oversampling) ** 2
        return 2 * np.sqrt(area / np.pi)

    @cached_property
    def fwhm(self):
        """Full width at half maximum at the middle of the exposure [pixel]."""
        return self.fwhm_at((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)


def _phase(psf):
    return psf.coefficients.shape[1] // 2 - psf.radius * psf.oversampling


def _refine(stamp, factor):
    fine = np.arange(0, stamp.shape[0] - 1 + 0.5 / factor, 1 / factor)
    return map_coordinates(stamp, np.meshgrid(fine, fine, indexing="ij"), order=3)


def polynomial_terms(x, y, shape, degree):
    """Evaluate the terms of a polynomial over the detector.

    Parameters
    ----------
    x, y : float or (n,) array
        Position [pixel, 0-based].
    shape : tuple of int
        (ny, nx); positions are scaled to -1 to 1 by it.
    degree : int
        Total degree.

    Returns
    -------
    terms : (n_terms,) or (n_terms, n) float array
    """
    u = 2 * np.asarray(x, dtype=float) / max(shape[1] - 1, 1) - 1
    v = 2 * np.asarray(y, dtype=float) / max(shape[0] - 1, 1) - 1
    return np.array([u**i * v**j for i, j in _powers(degree)])


def shared_terms(low, high):
    """Return where the terms of a lower degree stand among those of a higher one."""
    terms = _powers(high)
    return [terms.index(power) for power in _powers(low)]


def _powers(degree):
    """Return the powers of x and y of each term, in the order of all coefficients."""
    return [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]


def write_psf(path, psf, sources=None):
    """Write a PSF as a FITS cube of its polynomial's stamps.

    Parameters
    ----------
    path : str or Path
    psf : PSF
    sources : astropy.table.Table, optional
        The exposure's sources, kept beside it: later stages align by them.
    """
    hdu = fits.PrimaryHDU(psf.coefficients.astype(np.float32))
    hdu.header["OVERSAMP"] = (psf.oversampling, "stamp pixels per detector pixel")
    hdu.header["DEGREE"] = (psf.degree, "of the polynomial in x, y")
    hdu.header["IMNX"], hdu.header["IMNY"] = psf.shape[1], psf.shape[0]
    hdu.header["NSTARS"] = (psf.n_stars, "stars it was measured on")
    hdu.header["FWHM"] = (round(psf.fwhm, 4), "at the middle of the exposure [pixel]")
    for name, value in zip(_FIELD, psf.field or (), strict=False):
        hdu.header[name] = (round(value, 2), "the stars' field [pixel]")
    hdus = fits.HDUList([hdu])
    if sources is not None:
        hdus.append(fits.table_to_hdu(sources))
        hdus[-1].name = "SOURCES"
    with atomic_path(path) as temporary:
        hdus.writeto(temporary)


def read_psf(path):
    """Read a PSF that `write_psf` wrote.

    Raises
    ------
    BadInputError
        If the file is absent or holds no PSF.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            header, cube = hdus[0].header, hdus[0].data.astype(float)
            return PSF(
                coefficients=cube,
                oversampling=header["OVERSAMP"],
                degree=header["DEGREE"],
                shape=(header["IMNY"], header["IMNX"]),
                n_stars=header["NSTARS"],
                field=tuple(header[name] for name in _FIELD)
                if _FIELD[0] in header
                else None,
            )
    except (OSError, KeyError, AttributeError) as error:
        raise BadInputError(
            f"{path} must be a PSF written by 01_images, but: {error}. Run it again."
        ) from error
