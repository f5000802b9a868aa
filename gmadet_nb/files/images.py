"""One exposure in memory, and its way from and to FITS.

Pixels are 0-based with the centre on the integer, ``(x, y)`` in tables and
``[y, x]`` in arrays. FITS counts from 1: `astropy.wcs` is asked with origin 0.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from scipy.ndimage import binary_dilation

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.fits_files import STORAGE, read_pixels
from gmadet_nb.files.rundir import atomic_path

MASK_BITS = {
    "bad": 1,
    "saturated": 2,
    "edge": 4,
    "injected": 8,
    "cosmic_ray": 16,
    "streak": 32,
}
# Pixels with one of these hold no measurement that physics may use.
UNUSABLE = sum(bit for name, bit in MASK_BITS.items() if name != "injected")
# What a file written here says of its pixels beyond what they show.
_CARRIED = MASK_BITS["injected"] | MASK_BITS["cosmic_ray"]


@dataclass(frozen=True, kw_only=True)
class Image:
    """One calibrated exposure.

    Attributes
    ----------
    data : (ny, nx) float32 array
        Pixel values [adu]; NaN where there is no measurement.
    mask : (ny, nx) uint8 array
        Bits of `MASK_BITS`.
    gain : float
        Detected electrons per count [electron/adu].
    read_noise : float
        Read-out noise [electron]; 0 where it is not known.
    saturation : float
        Value from which a pixel is saturated [adu]; inf where it is not known.
    zero_point : float
        AB magnitude of a source of 1 adu in this exposure [mag].
    exposure_id : str
        Name of the exposure, unique in the run.
    wcs : astropy.wcs.WCS or None
        None where the header has no celestial one.
    filter : str
        Name of the filter.
    header : astropy.io.fits.Header
        Header of the file it came from.
    """

    data: np.ndarray
    mask: np.ndarray
    gain: float
    read_noise: float
    saturation: float
    zero_point: float
    exposure_id: str
    wcs: WCS | None = None
    filter: str = ""
    header: fits.Header = field(default_factory=fits.Header, repr=False)

    def __post_init__(self):
        if self.data.ndim != 2 or self.data.shape != self.mask.shape:
            raise BadImageError(
                f"Image {self.exposure_id!r}: data and mask must be two-dimensional "
                f"and of one shape, got {self.data.shape} and {self.mask.shape}."
            )
        if not self.gain > 0:  # also refuses NaN
            raise BadImageError(
                f"Image {self.exposure_id!r}: gain must be > 0 electron/adu, got "
                f"{self.gain}. Set the parameter 'gain', or its keyword in the "
                "telescope file."
            )

    @property
    def usable(self):
        """(ny, nx) bool array: True where a pixel may be used."""
        return (self.mask & UNUSABLE) == 0


def header_wcs(header):
    """Return the celestial WCS of a header, or None where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, relax=True, naxis=2)
        except (ValueError, KeyError, TypeError, AttributeError, MemoryError):
            return None
        if not wcs.has_celestial:
            return None
        determinant = np.linalg.det(wcs.pixel_scale_matrix)
    return wcs if np.isfinite(determinant) and determinant != 0 else None


def make_mask(data, saturation):
    """Mark bad and saturated pixels; a saturated one spoils its neighbours.

    Parameters
    ----------
    data : (ny, nx) array
        Pixel values [adu]; NaN where there is no measurement.
    saturation : float
        Value from which a pixel is saturated [adu].

    Returns
    -------
    mask : (ny, nx) uint8 array
        Bits of `MASK_BITS`.
    """
    mask = np.where(np.isfinite(data), 0, MASK_BITS["bad"]).astype(np.uint8)
    # As a plain float it is compared in the pixels' own precision: one that was cut
    # off at the saturation is at it.
    saturated = binary_dilation(data >= float(saturation), iterations=1)
    mask[saturated] |= MASK_BITS["saturated"]
    return mask


def open_exposure(row, path=None):
    """Read an exposure with the values that the exposures table holds for it.

    Parameters
    ----------
    row : astropy.table.Row
        Row of the exposures table.
    path : str or Path, optional
        Read this file in place of the row's own: its version with injected sources.

    Returns
    -------
    image : Image

    Raises
    ------
    BadImageError
        If the file cannot be read.
    """
    made_here = path or row["prepared"]
    path = Path(made_here or row["path"])
    data, header = read_pixels(path, "auto" if made_here else str(row["extension"]))
    mask = make_mask(data, row["saturation"])
    if made_here:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mask |= fits.getdata(path, "MASK") & np.uint8(_CARRIED)
    return Image(
        data=data,
        mask=mask,
        gain=float(row["gain"]),
        read_noise=float(row["read_noise"]),
        saturation=float(row["saturation"]),
        zero_point=float(row["zero_point"]),
        exposure_id=str(row["exposure_id"]),
        wcs=header_wcs(header),
        filter=str(row["filter"]),
        header=header,
    )


def clean_header(header):
    """Copy a header without the cards that cannot be written or no longer hold."""
    clean = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for card in header.cards:
            if card.keyword in STORAGE or card.keyword.startswith("NAXIS"):
                continue
            try:
                card.verify("fix")
                clean.append(fits.Card(card.keyword, card.value, card.comment))
            except (fits.VerifyError, ValueError):
                continue
    return clean


def write_image(path, image):
    """Write an image as float32 with its mask as the extension MASK."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        primary = fits.PrimaryHDU(image.data, header=clean_header(image.header))
        hdus = fits.HDUList([primary, fits.ImageHDU(image.mask, name="MASK")])
        with atomic_path(path) as temporary:
            hdus.writeto(temporary, output_verify="silentfix")
