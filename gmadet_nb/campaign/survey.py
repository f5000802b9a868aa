"""What a folder of exposures says of itself, before anything is run on it."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from gmadet_nb.errors import BadImageError, BadInputError
from gmadet_nb.files.fits_files import find_images, read_header, read_pixels
from gmadet_nb.files.headers import header_values
from gmadet_nb.files.images import Image, header_wcs
from gmadet_nb.files.telescopes import Telescope, list_telescopes, load_telescope
from gmadet_nb.imaging.photometry import find_sources, fit_background, pixel_noise
from gmadet_nb.imaging.stars import mark_stars
from gmadet_nb.progress import progress

_N_MEASURED = 5  # exposures whose pixels are looked at
_SIDE = 2048  # side of the part of them in which stars are measured [pixel]
_NUMBERS = ("gain", "read_noise", "saturation", "exptime", "mjd", "pixel_scale")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found in a folder of exposures.

    Attributes
    ----------
    telescope : Telescope
        The one whose ``header_names`` the exposures bear, else ``generic``.
    telescope_reason : str
        Why this one.
    exposures : astropy.table.Table
        One row a readable exposure: ``name``, ``nx``, ``ny``, ``gain``,
        ``read_noise``, ``saturation``, ``exptime``, ``mjd``, ``pixel_scale`` (NaN
        where nothing states it), ``filter``, ``gain_source``, ``saturation_source``,
        ``target``, ``kind``, ``has_wcs``, ``ra``, ``dec`` of its middle [deg].
    unreadable : list of str
        One text a file that could not be read, with the reason.
    fwhm : float
        Median over some exposures [pixel]; NaN where no stars were found.
    brightest : float
        Highest pixel value of these exposures [adu].
    saturation_guess : float or None
        Value at which their pixels pile up [adu].
    """

    telescope: Telescope
    telescope_reason: str
    exposures: Table
    unreadable: list
    fwhm: float
    brightest: float
    saturation_guess: float | None

    @property
    def n_same_field(self):
        """Number of exposures whose middle lies on the middle one's inner half."""
        placed = self.exposures[self.exposures["has_wcs"]]
        if not len(placed):
            return 0
        places = SkyCoord(placed["ra"], placed["dec"], unit="deg")
        # The field with the most exposures counts: nights may hold several.
        side = np.minimum(placed["nx"], placed["ny"]) * placed["pixel_scale"] / 3600
        return max(
            int(np.sum(place.separation(places).deg < 0.5 * side)) for place in places
        )


def survey_folder(folder):
    """Look at the headers of a folder's exposures and at some of their pixels.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    survey : Survey

    Raises
    ------
    BadInputError
        If the folder holds no FITS file that can be read.
    """
    headers, unreadable = {}, []
    for path in progress(find_images(folder), label="headers"):
        try:
            headers[path] = read_header(path)
        except BadImageError as error:
            unreadable.append(str(error))
    if not headers:
        raise BadInputError(
            f"{str(folder)!r} must hold at least one image that can be read, and holds "
            f"none of {len(unreadable)}: {unreadable[0]}"
        )
    telescope, reason = choose_telescope(list(headers.values()))
    rows = [_row(path, header, telescope) for path, header in headers.items()]
    exposures = Table(rows=rows)
    measured = _measure(list(headers), exposures)
    return Survey(
        telescope=telescope,
        telescope_reason=reason,
        exposures=exposures,
        unreadable=unreadable,
        **measured,
    )


def choose_telescope(headers):
    """Return the telescope that the headers name, else ``generic``, and why."""
    said = {}
    for header in headers:
        for keyword in ("TELESCOP", "INSTRUME"):
            value = _text(header, keyword)
            if value:
                said.setdefault(value.lower(), f"{keyword} {value!r}")
    for alias in list_telescopes():
        telescope = load_telescope(alias)
        for name in (alias, *telescope.header_names):
            if name.lower() in said:
                return telescope, f"{said[name.lower()]} is its name in the headers"
    names = ", ".join(said.values()) or "no TELESCOP or INSTRUME"
    reason = f"no telescope file lists what the headers say ({names})"
    return load_telescope("generic"), reason


def guess_saturation(data):
    """Return the value at which the pixels of an image pile up, or None.

    A converter that clips gives one value many times; a full well gives a hump at
    the end of a distribution that falls everywhere else.

    Parameters
    ----------
    data : array
        [adu], NaN allowed.
    """
    values = data[np.isfinite(data)]
    if not values.size or values.max() <= 0:
        return None
    top = float(values.max())
    if np.count_nonzero(values == top) >= 5:
        return top
    hump = values[values > 0.93 * top]
    below = np.count_nonzero((values > 0.8 * top) & (values <= 0.93 * top))
    if hump.size >= 10 and hump.size / 0.07 > 2 * below / 0.13:
        return 0.98 * float(np.percentile(hump, 25))
    return None


def _row(path, header, telescope):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        values, wcs = header_values(header, telescope), header_wcs(header)
    nx, ny = int(header["NAXIS1"]), int(header["NAXIS2"])
    ra, dec = (np.nan, np.nan) if wcs is None else _middle(wcs, nx, ny)
    row = {"name": Path(path).name, "nx": nx, "ny": ny}
    row |= {
        name: np.nan if values[name] is None else float(values[name])
        for name in _NUMBERS
    }
    return row | {
        "filter": values["filter"] or "",
        "gain_source": values["sources"]["gain"],
        "saturation_source": values["sources"]["saturation"],
        "target": _text(header, "OBJECT"),
        "kind": _text(header, "IMAGETYP") or _text(header, "OBSTYPE"),
        "has_wcs": bool(np.isfinite(ra) and np.isfinite(dec)),
        "ra": ra,
        "dec": dec,
    }


def _middle(wcs, nx, ny):
    ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    return float(ra), float(dec)


def _text(header, keyword):
    try:
        value = header.get(keyword)
    except fits.VerifyError:
        return ""
    return value.strip() if isinstance(value, str) else ""


def _measure(paths, exposures):
    """Measure FWHM, highest value and pile-up on a few exposures."""
    chosen = np.unique(np.linspace(0, len(paths) - 1, _N_MEASURED).astype(int))
    fwhms, tops, guesses = [], [], []
    for index in progress(chosen, label="pixels"):
        try:
            data, _ = read_pixels(paths[index])
            tops.append(float(np.nanmax(data)) if np.isfinite(data).any() else np.nan)
            guesses.append(guess_saturation(data))
            fwhms.append(_measure_fwhm(data, guesses[-1] or tops[-1]))
        except BadImageError:
            continue
    guesses = [guess for guess in guesses if guess is not None]
    fwhms = [fwhm for fwhm in fwhms if np.isfinite(fwhm)]
    return {
        "fwhm": float(np.median(fwhms)) if fwhms else np.nan,
        "brightest": max(tops, default=np.nan),
        "saturation_guess": min(guesses, default=None),
    }


def _measure_fwhm(data, saturation):
    """Return the FWHM of the stars in the middle of an image [pixel], or NaN."""
    top, left = (max(0, (n - _SIDE) // 2) for n in data.shape)
    data = data[top : top + _SIDE, left : left + _SIDE]
    image = Image(
        data=data,
        mask=(~np.isfinite(data) | (data >= 0.95 * saturation)).astype(np.uint8),
        gain=1.0,  # of no consequence for the width of a star
        read_noise=0.0,
        saturation=saturation,
        zero_point=30.0,
        exposure_id="survey",
    )
    background, _ = fit_background(image)
    noise, _ = pixel_noise(data, image.usable)
    if not noise > 0:
        return np.nan
    sources = find_sources(image, background, noise, detection_threshold=10.0)
    stars = sources[mark_stars(sources, saturation_peak=0.8 * saturation)]
    return 2 * float(np.median(stars["half_light_radius"])) if len(stars) else np.nan
