"""What a FITS header says, in the package's own names and units."""

import math
import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs.utils import proj_plane_pixel_scales

from gmadet_nb.files.images import header_wcs

EMPTY_FILTER_SLOTS = {"air", "open", "empty", "none", "no filter", "clear", "blank"}


def header_values(header, telescope):
    """Return what a header says, in the package's own names and units.

    Numbers given as text ('1.9 e-/ADU', '1,9') are read; zero, negative and infinite
    ones count as absent, since cameras write them in place of an unknown. A date
    without a time of day is used only when nothing better is there.

    Parameters
    ----------
    header : astropy.io.fits.Header
        It is not changed; unreadable cards are skipped.
    telescope : Telescope

    Returns
    -------
    values : dict
        ``gain`` [electron/adu], ``read_noise`` [electron], ``saturation`` [adu],
        ``exptime`` [s], ``mjd`` [d, UTC, what the header gives, as a rule the start],
        ``filter``, ``pixel_scale`` [arcsec/pixel], each a finite float or a str, None
        where nothing states it; and ``sources``, for each of these the header keyword,
        "telescope file" or "WCS" that gave it, "" for None.
    """
    # Malformed cards far from the ones that are read make astropy warn.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        found = _find_all(header, telescope)
    values = {name: value for name, (value, _) in found.items()}
    return values | {"sources": {name: source for name, (_, source) in found.items()}}


def _find_all(header, telescope):
    """Return ``{name: (value or None, source)}``."""
    found = {
        name: _first_number(header, getattr(telescope, f"{name}_keywords"), name)
        for name in ("gain", "read_noise", "saturation", "exptime")
    }
    for name in ("gain", "read_noise", "saturation"):
        if found[name][0] is None and getattr(telescope, name) is not None:
            found[name] = getattr(telescope, name), "telescope file"
    found["mjd"] = _find_mjd(header, telescope)
    found["filter"] = _find_filter(header, telescope)
    found["pixel_scale"] = _find_pixel_scale(header, telescope)
    return found


def read_number(value, *, thousands=False):
    """Return the number that a header value holds, or None.

    Parameters
    ----------
    value : object
        A number, or text that begins with one: '1.9 e-/ADU', '1,9', '6.5D4'.
    thousands : bool
        Whether '65,535' is 65535 and not 65.535.
    """
    if isinstance(value, bool | np.bool_) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip().strip("'\"").strip()
        if thousands and re.match(r"\d{1,3}(,\d{3})+(?!\d)", text):
            text = text.replace(",", "")
        match = re.match(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][-+]?\d+)?", text)
        # A second separator or a colon ('12:30', '1.2.3', '2012-06-17') is no number.
        if not match or re.match(r"[.,:\-/]?\d|[.,:]", text[match.end() :]):
            return None
        value = re.sub("[dD]", "e", match[0].replace(",", "."))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def read_mjd(value, time=None):
    """Return the MJD that a date of a header stands for, and whether it has a time.

    Parameters
    ----------
    value : object
        An ISO date with or without time, 'DD/MM/YY', 'YYYY/MM/DD', an MJD or a JD.
    time : object
        The time of day that goes with a date without one: 'HH:MM:SS' or seconds.

    Returns
    -------
    mjd : float or None
    has_time : bool
    """
    number = read_number(value)
    if number is not None:
        # 15,000 to 100,000 are the years 1899 to 2132 in MJD.
        mjd = number - 2400000.5 if number > 2.4e6 else number
        return (mjd, mjd % 1 != 0) if 15_000 < mjd < 100_000 else (None, False)
    date, clock = _split_date(str(value or ""))
    if not date:
        return None, False
    seconds = _seconds_of_day(clock) if clock else _seconds_of_day(time)
    try:
        midnight = Time(date, format="isot", scale="utc").mjd
    except ValueError:
        return None, False
    return float(midnight + (seconds or 0.0) / 86400), seconds is not None


def _split_date(text):
    """Return 'YYYY-MM-DD' and the clock after it, both '' where there is no date."""
    text = text.strip().strip("'\"").rstrip("Zz")
    iso = re.match(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T\s]+(\S+))?$", text)
    if iso:
        year, month, day, clock = iso.groups()
    else:
        old = re.match(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{2,4})(?:[T\s]+(\S+))?$", text)
        if not old:
            return "", ""
        day, month, year, clock = old.groups()
        # Two digits: no electronic detector saw the sky before 1970. Three digits are
        # years since 1900, as programs that passed 1999 unprepared wrote them.
        if len(year) == 2:
            year = int(year) + (1900 if int(year) >= 70 else 2000)
        elif len(year) == 3:
            year = 1900 + int(year)
    return f"{int(year):04d}-{int(month):02d}-{int(day):02d}", clock or ""


def _seconds_of_day(value):
    """Return the seconds since midnight of 'HH:MM:SS', 'HH MM SS' or a number."""
    if isinstance(value, str):
        match = re.match(
            r"\s*(\d{1,2})[:\s](\d{1,2})(?:[:\s](\d{1,2}([.,]\d*)?))?", value
        )
        if match:
            hours, minutes, seconds = match[1], match[2], match[3] or "0"
            value = int(hours) * 3600 + int(minutes) * 60
            value += float(seconds.replace(",", "."))
    number = read_number(value)
    return number if number is not None and 0 <= number < 86401 else None


def _card_value(header, keyword):
    """Return the value of a card; of one that astropy cannot read, its text."""
    try:
        value = header.get(keyword)
    except fits.VerifyError:
        card = header.cards[keyword]
        return card.image.partition("=")[2].partition("/")[0].strip()
    return None if isinstance(value, fits.card.Undefined) else value


def _first_number(header, keywords, name):
    for keyword in keywords:
        thousands = name == "saturation"
        number = read_number(_card_value(header, keyword), thousands=thousands)
        if number is not None and number > 0:
            return number, keyword
    return None, ""


def effective_gain(gain, exptime, unit):
    """Return the electrons that one unit of a pixel's value stands for.

    Images that were divided by their exposure time, or that are in electrons already,
    have other photon noise than the gain of the camera says.

    Parameters
    ----------
    gain : float
        Of the camera [electron/adu].
    exptime : float or None
        [s]
    unit : str
        As in ``BUNIT``: ``adu``, ``adu/s``, ``electron``, ``electron/s`` and their
        usual spellings; any other counts as adu.

    Returns
    -------
    gain : float or None
        [electron/unit]; None where it takes an exposure time that is not known.
    """
    text = "".join(str(unit).lower().split()).replace("electrons", "electron")
    per_second = text.endswith(("/s", "/sec", "/second", "s-1", "s**-1", "s^-1"))
    counted = text.startswith(("electron", "e-", "e/")) or text == "e"
    electrons = 1.0 if counted else gain
    if not per_second:
        return electrons
    return electrons * exptime if exptime else None


def _find_mjd(header, telescope):
    time, time_keyword = None, ""
    for keyword in telescope.time_keywords:
        value = _card_value(header, keyword)
        if value is not None and _seconds_of_day(value) is not None:
            time, time_keyword = value, keyword
            break
    date_only = None, ""
    for keyword in telescope.date_keywords:
        value = _card_value(header, keyword)
        mjd, has_time = read_mjd(value, time)
        if mjd is not None and has_time:
            used_time = time_keyword and not read_mjd(value)[1]
            return mjd, f"{keyword} + {time_keyword}" if used_time else keyword
        if mjd is not None and date_only[0] is None:
            date_only = mjd, f"{keyword} (no time of day)"
    return date_only


def _find_filter(header, telescope):
    empty_slot = None, ""
    for keyword in telescope.filter_keywords:
        value = _card_value(header, keyword)
        if value is None or isinstance(value, bool):
            continue
        name = str(value).strip().strip("[]'\" ")
        if name and name in telescope.filter_map:
            return telescope.filter_map[name], keyword
        if name and name.lower() not in EMPTY_FILTER_SLOTS:
            return name, keyword
        # An empty slot of the first wheel: the filter may stand in the second.
        if name and empty_slot[0] is None:
            empty_slot = name, keyword
    return empty_slot


def _find_pixel_scale(header, telescope):
    if telescope.pixel_scale > 0:
        return telescope.pixel_scale, "telescope file"
    scale = _wcs_pixel_scale(header)
    if scale is not None:
        return scale, "WCS"
    scale, keyword = _first_number(header, telescope.pixel_scale_keywords, "")
    if scale is not None:
        return scale, keyword
    pixel, _ = _first_number(header, ("XPIXSZ",), "")
    focal_length, _ = _first_number(header, ("FOCALLEN",), "")
    if pixel and focal_length:  # [micron], [mm]
        return math.degrees(pixel * 1e-3 / focal_length) * 3600, "XPIXSZ / FOCALLEN"
    return None, ""


def _wcs_pixel_scale(header):
    """Return the geometric mean of the two pixel scales [arcsec], or None."""
    wcs = header_wcs(header)
    if wcs is None:
        return None
    scale = math.sqrt(np.prod(proj_plane_pixel_scales(wcs))) * 3600
    # A degree a pixel is what an unset CDELT gives.
    return float(scale) if 0 < scale < 1000 else None
