"""The point spread function of an exposure, measured on its own stars.

Each pixel of an oversampled stamp is a polynomial in the position on the
detector, so that all stars share in the shape at every place. The stamp is the
effective PSF (Anderson & King 2000, PASP 112, 1360): the response of a pixel to
a point source at a given offset, the pixel's own width included. A flux of 1 is the
light within ``flux_radius``, where the stamps end.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from astropy.io import fits
from scipy.ndimage import spline_filter
from scipy.signal import fftconvolve

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.imaging.splines import spline_matrix

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
    def _splines(self):
        return np.array([spline_filter(term, order=3) for term in self.coefficients])

    @property
    def flux_radius(self):
        """Radius within which lies all the light of a flux of 1 [pixel].

        The stamps end there, so light of a real star farther out is no part of the
        fluxes that are measured with them.
        """
        return self.radius - 0.5

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
        return self.evaluate_many([float(x)], [float(y)])[0]

    def evaluate_many(self, x, y, origin=None):
        """Return the PSFs of sources at (x, y), both (n,), as an (n, k, k) array.

        The same stamps as one by one, in a fraction of the time. ``origin``, two (n,)
        arrays of whole numbers, are the pixels in the stamps' middles, where these are
        not the nearest.
        """
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        middle_x, middle_y = (np.rint(x), np.rint(y)) if origin is None else origin
        n_terms, k, _ = self._splines.shape
        offsets, step = np.arange(-self.radius, self.radius + 1), self.oversampling
        rows = k // 2 + (offsets + (middle_y - y)[:, None]) * step
        columns = k // 2 + (offsets + (middle_x - x)[:, None]) * step
        of_source = self._terms(x, y).T @ self._splines.reshape(n_terms, -1)
        across = spline_matrix(rows, k) @ of_source.reshape(-1, k, k)
        pixels = across @ spline_matrix(columns, k).transpose(0, 2, 1)
        return self._normalize(pixels)

    def _normalize(self, pixels):
        # Wings fitted to noise and neighbours dip below 0, where no light can be.
        pixels = pixels if self.signed else np.clip(pixels, 0, None)
        return pixels / pixels.sum(axis=(-2, -1), keepdims=True)

    def _terms(self, x, y):
        """Return the polynomial's terms at (x, y), or at the edge of the field."""
        return polynomial_terms(*self._in_field(x, y), self.shape, self.degree)

    def _in_field(self, x, y):
        if self.field is None:
            return x, y
        return np.clip(x, *self.field[:2]), np.clip(y, *self.field[2:])

    def oversampled(self, x, y):
        """Return the stamp at (x, y) as it is held, `oversampling` pixels to one.

        It is scaled so that the pixels of a centered source, every `oversampling`-th
        of these from the middle, have the sum 1.
        """
        stamp = np.tensordot(self._terms(x, y), self.coefficients, axes=1)
        stamp = stamp if self.signed else np.clip(stamp, 0, None)
        return stamp / self._detector_pixels(stamp).sum()

    def centered(self, x, y):
        """Return the PSF at (x, y) with its center in the middle of the stamp."""
        return self._detector_pixels(self.oversampled(x, y))

    def _detector_pixels(self, stamp):
        phase = _phase(self)
        return stamp[phase :: self.oversampling, phase :: self.oversampling]

    def filtered(self, kernel_at, degree=0):
        """Return the PSF of the image after a convolution.

        Exact on the pixels of the detector: the kernel moves light by whole pixels,
        `oversampling` steps of the stamps.

        Parameters
        ----------
        kernel_at : callable
            ``kernel_at(x, y)`` gives the (m, m) kernel at a place, m odd.
        degree : int
            Of the kernel's own variation over the field.

        Returns
        -------
        psf : PSF
            Signed; as wide as this one, so that what a kernel moves farther is lost.
        """
        degree = max(self.degree, degree)
        left, right, low, high = self.field or (
            *(0, self.shape[1] - 1),
            *(0, self.shape[0] - 1),
        )
        side = degree + 2 if degree else 1
        x, y = (
            grid.ravel()
            for grid in np.meshgrid(
                *(
                    np.linspace(*ends, side + 2)[1:-1]
                    for ends in ((left, right), (low, high))
                )
            )
        )
        stamps = np.tensordot(self._terms(x, y).T, self.coefficients, axes=1)
        made = [
            fftconvolve(stamp, self._dilate(kernel_at(*place)), mode="same")
            for stamp, place in zip(stamps, zip(x, y, strict=True), strict=True)
        ]
        terms = polynomial_terms(x, y, self.shape, degree)
        coefficients = np.tensordot(np.linalg.pinv(terms.T), np.array(made), axes=1)
        return replace(self, coefficients=coefficients, degree=degree, signed=True)

    def _dilate(self, kernel):
        """Spread a kernel's pixels to the stamps' finer ones, zeros between."""
        step = self.oversampling
        fine = np.zeros([(n - 1) * step + 1 for n in kernel.shape])
        fine[::step, ::step] = kernel
        return fine

    def fwhm_at(self, x, y):
        """Return the full width at half maximum at (x, y) [pixel].

        It is the diameter of the circle with the area of the half-maximum contour.
        """
        coefficients, degree = self._fwhm_polynomial
        terms = polynomial_terms(*self._in_field(x, y), self.shape, degree)
        return float(coefficients @ terms)

    @cached_property
    def _fwhm_polynomial(self):
        """The width as a polynomial, fitted on a grid, and its degree.

        The width of stamps that are a polynomial is none itself: two degrees more
        follow it to some thousandths of a pixel.
        """
        degree = self.degree + 2 if self.degree else 0
        side = degree + 2 if degree else 1
        left, right, low, high = self.field or (
            *(0, self.shape[1] - 1),
            *(0, self.shape[0] - 1),
        )
        x, y = np.meshgrid(np.linspace(left, right, side), np.linspace(low, high, side))
        terms = polynomial_terms(x.ravel(), y.ravel(), self.shape, degree)
        stamps = np.tensordot(self._terms(x.ravel(), y.ravel()).T, self._splines, 1)
        widths = [_half_maximum_width(s) / self.oversampling for s in stamps]
        return np.linalg.lstsq(terms.T, np.array(widths), rcond=None)[0], degree

    @cached_property
    def fwhm(self):
        """Full width at half maximum at the middle of the exposure [pixel]."""
        return self.fwhm_at((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)


def _phase(psf):
    return psf.coefficients.shape[1] // 2 - psf.radius * psf.oversampling


def _half_maximum_width(splines, *, finer=8):
    """Return the FWHM of a surface of spline coefficients, in steps of its grid."""
    high = np.abs(splines) > 0.25 * np.abs(splines).max()
    inside = np.flatnonzero(high.any(axis=0) | high.any(axis=1))
    first, last = max(inside[0] - 2, 0), min(inside[-1] + 2, len(splines) - 1)
    fine = spline_matrix(np.arange(first, last + 0.5 / finer, 1 / finer), len(splines))
    values = fine @ splines @ fine.T
    half = values.max() / 2
    # The contour cuts through cells: each counts by its share above the half.
    slope = np.maximum(np.hypot(*np.gradient(values)), 1e-12 * half)
    area = np.clip(0.5 + (values - half) / slope, 0, 1).sum() / finer**2
    return 2 * np.sqrt(area / np.pi)


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


def psf_hdu(psf, kind=fits.PrimaryHDU, **fields):
    """Make a FITS extension of a PSF: the cube of its polynomial's stamps."""
    hdu = kind(psf.coefficients.astype(np.float32), **fields)
    hdu.header["OVERSAMP"] = (psf.oversampling, "stamp pixels per detector pixel")
    hdu.header["DEGREE"] = (psf.degree, "of the polynomial in x, y")
    hdu.header["IMNX"], hdu.header["IMNY"] = psf.shape[1], psf.shape[0]
    hdu.header["NSTARS"] = (psf.n_stars, "stars it was measured on")
    hdu.header["SIGNED"] = (psf.signed, "of a filtered image: may be negative")
    hdu.header["FLUXRAD"] = (psf.flux_radius, "flux 1 lies within it [pixel]")
    hdu.header["FWHM"] = (round(psf.fwhm, 4), "at the middle of the exposure [pixel]")
    for name, value in zip(_FIELD, psf.field or (), strict=False):
        hdu.header[name] = (round(value, 2), "the stars' field [pixel]")
    return hdu


def psf_of_hdu(hdu):
    """Return the PSF of an extension that `psf_hdu` made.

    Raises
    ------
    KeyError, AttributeError
        If it holds none.
    """
    header = hdu.header
    return PSF(
        coefficients=hdu.data.astype(float),
        oversampling=header["OVERSAMP"],
        degree=header["DEGREE"],
        shape=(header["IMNY"], header["IMNX"]),
        n_stars=header["NSTARS"],
        field=tuple(header[name] for name in _FIELD) if _FIELD[0] in header else None,
        signed=header["SIGNED"],
    )


def write_psf(path, psf, sources=None):
    """Write a PSF as a FITS cube of its polynomial's stamps.

    Parameters
    ----------
    path : str or Path
    psf : PSF
    sources : astropy.table.Table, optional
        The exposure's sources, kept beside it: later stages align by them.
    """
    hdus = fits.HDUList([psf_hdu(psf)])
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
            return psf_of_hdu(hdus[0])
    except (OSError, KeyError, AttributeError) as error:
        raise BadInputError(
            f"{path} must be a PSF written by 01_images, but: {error}. Run it again."
        ) from error
