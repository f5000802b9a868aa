"""FITS files as they come: which a folder holds, and the image and header in one."""

import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits

from gmadet_nb.errors import BadImageError, BadInputError

_SUFFIXES = re.compile(r"\.(fits|fit|fts)(\.fz|\.gz)?$", re.IGNORECASE)
# Keywords that describe how the input file stored its pixels, not the exposure.
STORAGE = ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM", "XTENSION", "EXTNAME")
_STRUCTURE = (*STORAGE, "SIMPLE", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "GROUPS")
_WCS_KEYWORD = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CROTA|CUNIT)\d|(CD|PC|PV)\d+_|(A|B|AP|BP)_\d|"
    r"(LONPOLE|LATPOLE|WCSAXES|RADESYS|EQUINOX)$"
)
_READ_ERRORS = (OSError, EOFError, TypeError, ValueError, IndexError, KeyError)


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
        ``auto`` takes the largest, the first of those that are equal: others are
        previews, masks and noise.

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
        raise BadImageError(
            f"{Path(path).name} must be a whole FITS file, and {_fault(path, error)}. "
            "Copy it again, or take it out of the folder."
        ) from error


def _fault(path, error):
    """Say what is wrong with a file, in one line: it becomes a reason in a table."""
    text = " ".join(str(error).split()).rstrip(".")
    try:
        with Path(path).open("rb") as file:
            start = file.read(9)
    except OSError:
        return f"it cannot be read ({text})"
    if not start:
        return "it is empty"
    # A FITS file, or a compressed one: gzip, bzip2, zip, xz, Unix compress.
    if not start.startswith(
        (b"SIMPLE  =", b"\x1f\x8b", b"BZh", b"PK", b"\xfd7z", b"\x1f\x9d")
    ):
        return "it does not begin as one"
    return f"it may be cut short ({text})"


def _find_extension(hdus, extension, path):
    images = [
        hdu
        for hdu in hdus
        if getattr(hdu, "is_image", False) and hdu.header["NAXIS"] >= 2
    ]
    if not images:
        raise BadImageError(
            f"{Path(path).name} must hold an image, and no extension of it has two "
            "axes."
        )
    if extension == "auto":
        flat = [hdu for hdu in images if sum(n > 1 for n in hdu.shape) == 2]
        return max(flat or images, key=lambda hdu: np.prod(hdu.shape))
    for number, hdu in enumerate(hdus):
        if str(extension).upper() in (str(number), hdu.name.upper()) and hdu in images:
            return hdu
    known = [f"{hdus.index(hdu)} {hdu.name}".strip() for hdu in images]
    raise BadImageError(
        f"{Path(path).name} must hold an image in the extension {extension!r} that "
        f"'extension' names, and its images are: {', '.join(known)}. 'auto' takes the "
        "largest."
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
            f"got shape {squeezed.shape}. Set 'extension' where another one is."
        )
    image = squeezed.astype(np.float32)
    image[~np.isfinite(image)] = np.nan
    return image
