"""One exposure in memory, and its way from and to FITS.

Pixels are 0-based with the centre on the integer, ``(x, y)`` in tables and
``[y, x]`` in arrays. FITS counts from 1: `astropy.wcs` is asked with origin 0.
"""

import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from scipy.ndimage import binary_dilation

from gmadet_nb.errors import BadImageError, BadInputError
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
_SUFFIXES = re.compile(r"\.(fits|fit|fts)(\.fz|\.gz)?$", re.IGNORECASE)
# Keywords that describe how the input file stored its pixels, not the exposure.
_STORAGE = ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM", "XTENSION", "EXTNAME")
_STRUCTURE = (*_STORAGE, "SIMPLE", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS")
_WCS_KEYWORD = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CROTA|CUNIT)\d|(CD|PC|PV)\d+_|(A|B|AP|BP)_\d|"
    r"(LONPOLE|LATPOLE|WCSAXES|RADESYS|EQUINOX)$"
)
_READ_ERRORS = (OSError, EOFError, TypeError, ValueError, IndexError, KeyError)


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


def find_images(folder):
    """List the FITS files of a folder, and of the folders in it, sorted.

    Raises
    ------
    BadInputError
        If the folder is absent or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(
            f"images_dir must be a folder of FITS files, and {str(folder)!r} is none. "
            "Set 'images_dir', relative to the folder the command is started in."
        )
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and _SUFFIXES.search(path.name)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise BadInputError(
            f"{str(folder)!r} must hold FITS files (.fits, .fit, .fts, also .fz and "
            ".gz), and holds none. Set 'images_dir'."
        )
    return paths


def exposure_ids(paths):
    """Name exposures after their files, with the folder's name where two are alike.

    Parameters
    ----------
    paths : list of Path

    Returns
    -------
    ids : list of str
        One for each path, in order; letters, digits and ``._+-`` only.

    Raises
    ------
    BadInputError
        If two stay alike.
    """
    stems = [_safe(_SUFFIXES.sub("", path.name)) for path in paths]
    ids = [
        stem if stems.count(stem) == 1 else f"{_safe(path.parent.name)}_{stem}"
        for stem, path in zip(stems, paths, strict=True)
    ]
    for name, path in zip(ids, paths, strict=True):
        if ids.count(name) > 1:
            raise BadInputError(
                f"Two images must not have one name, and {name!r} names more than "
                f"one, {str(path)!r} among them. Rename one of the files."
            )
    return ids


def _safe(stem):
    return re.sub(r"[^A-Za-z0-9._+-]", "_", stem).lstrip(".") or "image"


def read_header(path, extension="auto"):
    """Read the header of a FITS file's image, without its pixels.

    Parameters
    ----------
    path : str or Path
    extension : str
        See `read_pixels`.

    Returns
    -------
    header : astropy.io.fits.Header
        Of the image's extension, with the cards of the primary header that it lacks:
        cameras write gain and date only there.

    Raises
    ------
    BadImageError
        If the file is no FITS file, or holds no image.
    """
    with _open_image(path, extension) as (_, header):
        return header


def read_pixels(path, extension="auto"):
    """Read the image of a FITS file.

    Parameters
    ----------
    path : str or Path
    extension : str
        Number (0 is the primary) or name of the FITS extension that holds the image;
        ``auto`` takes the first that holds two axes.

    Returns
    -------
    data : (ny, nx) float32 array
        NaN where the file has no value.
    header : astropy.io.fits.Header
        See `read_header`.

    Raises
    ------
    BadImageError
        If the file is no FITS file, is cut short, or holds no image.
    """
    with _open_image(path, extension) as (hdu, header):
        return _as_image(hdu.data, path), header


@contextmanager
def _open_image(path, extension):
    """Give the extension with the image, and its header with the primary's."""
    try:
        # A malformed card of an observatory must not cost the exposure.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as hdus:
                hdu = _find_extension(hdus, extension, path)
                yield hdu, _merge_headers(hdu.header, hdus[0].header)
                return
    except BadImageError:
        raise
    except _READ_ERRORS as error:
        # One line, since it becomes a reason in a table.
        text = " ".join(str(error).split())
        raise BadImageError(
            f"{Path(path).name} must be a whole FITS file, and reading it failed: "
            f"{text}"
        ) from error


def _find_extension(hdus, extension, path):
    images = [
        hdu
        for hdu in hdus
        if getattr(hdu, "is_image", False) and hdu.header["NAXIS"] >= 2
    ]
    if not images:
        raise BadImageError(
            f"{Path(path).name} must hold an image, and none has two axes."
        )
    if extension == "auto":
        return images[0]
    for number, hdu in enumerate(hdus):
        if str(extension).upper() in (str(number), hdu.name.upper()) and hdu in images:
            return hdu
    known = [f"{hdus.index(hdu)} {hdu.name}".strip() for hdu in images]
    raise BadImageError(
        f"{Path(path).name} must hold an image in the extension {extension!r} that "
        f"'extension' names, and its images are: {', '.join(known)}. 'auto' takes the "
        "first."
    )


def _merge_headers(header, primary):
    """Copy an extension's header and add what only the primary header says."""
    merged = header.copy()
    if header is primary:
        return merged
    has_wcs = "CTYPE1" in merged
    for card in primary.cards:
        keyword = card.keyword
        if not keyword or keyword in merged or keyword in ("COMMENT", "HISTORY"):
            continue
        if keyword in _STRUCTURE or keyword.startswith("NAXIS"):
            continue
        # Half a WCS from each header would be none.
        if has_wcs and _WCS_KEYWORD.match(keyword):
            continue
        merged.append(card)
    return merged


def _as_image(data, path):
    squeezed = np.squeeze(data) if data is not None else np.empty(0)
    if squeezed.ndim != 2:
        raise BadImageError(
            f"{Path(path).name} must hold a two-dimensional image, "
            f"got shape {squeezed.shape}."
        )
    image = squeezed.astype(np.float32)
    image[~np.isfinite(image)] = np.nan
    return image


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
            if card.keyword in _STORAGE or card.keyword.startswith("NAXIS"):
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
