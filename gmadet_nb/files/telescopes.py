"""Telescope files: what is known of a telescope and of its headers.

A telescope is one small YAML file, ``params/telescopes/<alias>.yaml``. It says which
header keyword holds what, and holds facts that no header states. A value that is
neither in the header nor in the file is None: nothing is made up in its place.
"""

import difflib
import math
from dataclasses import dataclass, field, fields
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gmadet_nb.errors import BadInputError

# EGAIN comes first: it is electrons per count wherever it is written, while GAIN is
# the setting of the camera (0 to 600) in the headers of many CMOS cameras.
GAIN_KEYWORDS = ("EGAIN", "GAIN", "CCDGAIN", "ATODGAIN", "GAINEFF")
READ_NOISE_KEYWORDS = ("RDNOISE", "READNOIS", "READNOISE", "RON", "CCDRON", "ENOISE")
SATURATION_KEYWORDS = ("SATURATE", "SATLEVEL", "SATURAT", "MAXLIN")
EXPTIME_KEYWORDS = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXPTIM", "ITIME", "TEXP")
FILTER_KEYWORDS = ("FILTER", "FILTER1", "FILTER2", "FILTNAM", "FILTERID", "FILTERS")
# DATE-OBS before MJD-OBS: old headers have an MJD-OBS that is half a day off
# (JD - 2400000 in place of JD - 2400000.5).
DATE_KEYWORDS = ("DATE-OBS", "DATE_OBS", "MJD-OBS", "MJD", "JD", "JD-OBS", "UTSTART")
TIME_KEYWORDS = ("TIME-OBS", "UT", "UTC-OBS", "UTC", "UT-START", "UTSTART", "TM-START")
PIXEL_SCALE_KEYWORDS = ("PIXSCALE", "SECPIX", "PIXELSCL")


@dataclass(frozen=True, kw_only=True)
class Telescope:
    """What is known of a telescope and of the headers its camera writes.

    Attributes
    ----------
    alias : str
        Name of its file, without the ending.
    description, location : str
        For people.
    pixel_scale : float
        Size of a pixel [arcsec/pixel]; 0 takes it from the header.
    gain_keywords, read_noise_keywords, saturation_keywords, exptime_keywords, \
filter_keywords, date_keywords, time_keywords, pixel_scale_keywords : tuple of str
        Header keywords, the first that holds a usable value wins.
    gain : float or None
        Used where the header states none [electron/adu].
    read_noise : float or None
        Used where the header states none [electron].
    saturation : float or None
        Used where the header states none [adu].
    filter_map : dict of str to str
        The header's filter names to standard ones; others stay as they are.
    psf_degree : int or None
        Degree of the PSF's polynomial in (x, y); None leaves it to the number of stars.
    psf_size : int or None
        Side of a PSF stamp [pixel], odd; None takes it from the FWHM.
    cutout_size : int
        Side of a candidate's cutout [pixel].
    header_names : tuple of str
        Values of TELESCOP or INSTRUME by which its exposures are recognized.
    """

    alias: str
    description: str = ""
    location: str = ""
    pixel_scale: float = 0.0
    gain_keywords: tuple[str, ...] = GAIN_KEYWORDS
    read_noise_keywords: tuple[str, ...] = READ_NOISE_KEYWORDS
    saturation_keywords: tuple[str, ...] = SATURATION_KEYWORDS
    exptime_keywords: tuple[str, ...] = EXPTIME_KEYWORDS
    filter_keywords: tuple[str, ...] = FILTER_KEYWORDS
    date_keywords: tuple[str, ...] = DATE_KEYWORDS
    time_keywords: tuple[str, ...] = TIME_KEYWORDS
    pixel_scale_keywords: tuple[str, ...] = PIXEL_SCALE_KEYWORDS
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    filter_map: dict[str, str] = field(default_factory=dict)
    psf_degree: int | None = None
    psf_size: int | None = None
    cutout_size: int = 32
    header_names: tuple[str, ...] = ()


FILE_KEYS = tuple(f.name for f in fields(Telescope) if f.name != "alias")


def list_telescopes():
    """Return the telescope files there are: ``{alias: path}``, sorted by alias.

    Those of the folder the command was started in (``params/telescopes``) come before
    those of the repository when both have an alias.
    """
    repository = Path(__file__).resolve().parents[2]
    found = {}
    for folder in (repository / "params/telescopes", Path("params/telescopes")):
        found |= {path.stem: path for path in folder.glob("*.yaml")}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def load_telescope(alias_or_path):
    """Read a telescope file and check every line of it.

    Parameters
    ----------
    alias_or_path : str or Path
        An alias of `list_telescopes`, or the path of a ``.yaml`` file.

    Returns
    -------
    telescope : Telescope

    Raises
    ------
    BadInputError
        For an alias or a key that does not exist (naming the nearest that does), a
        value of the wrong type, or a file that cannot be read.
    """
    name = str(alias_or_path)
    known = list_telescopes()
    if name in known:
        path = known[name]
    elif name.endswith((".yaml", ".yml")) and Path(name).is_file():
        path = Path(name)
    else:
        raise BadInputError(
            f"There is no telescope {name!r}.{_nearest(name, known)} Known: "
            f"{', '.join(known)}; or give the path of a telescope's .yaml file."
        )
    return _checked_telescope(path.stem, _read_yaml(path), path)


def _read_yaml(path):
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"Cannot read telescope file {path}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadInputError(
            f"Telescope file {path} must hold lines 'name: value', "
            f"got a {type(content).__name__}."
        )
    return content


def _checked_telescope(alias, content, path):
    values = {}
    for key, value in content.items():
        if key not in FILE_KEYS:
            raise BadInputError(
                f"Telescope file {path}: unknown key {key!r}."
                f"{_nearest(str(key), FILE_KEYS)} Known: {', '.join(FILE_KEYS)}."
            )
        values[key] = _checked_value(key, value, path)
    return Telescope(alias=alias, **values)


def _checked_value(key, value, path):
    """Return one value of a telescope file, in the type of its field."""
    wrong = BadInputError(
        f"Telescope file {path}: {key} must be {_wanted(key)}, got {value!r}."
    )
    if key in ("description", "location"):
        if not isinstance(value, str):
            raise wrong
        return value
    if key.endswith("_keywords") or key == "header_names":
        if not isinstance(value, list) or not all(
            isinstance(item, str) and item.strip() for item in value
        ):
            raise wrong
        return tuple(item.strip() for item in value)
    if key == "filter_map":
        if not isinstance(value, dict) or not all(
            isinstance(name, str) and name for name in value.values()
        ):
            raise wrong
        return {str(name): standard for name, standard in value.items()}
    optional = key not in ("pixel_scale", "cutout_size")
    if value is None and optional:
        return None
    number_types = (
        int if key in ("psf_degree", "psf_size", "cutout_size") else (int, float)
    )
    if isinstance(value, bool) or not isinstance(value, number_types):
        raise wrong
    low = {"pixel_scale": 0, "read_noise": 0, "psf_degree": 0, "psf_size": 5}
    low |= {"cutout_size": 8}
    # "not >=" refuses NaN as well.
    if not (value >= low[key] if key in low else value > 0) or math.isinf(value):
        raise wrong
    if key == "psf_size" and value % 2 == 0:
        raise wrong
    return value if number_types is int else float(value)


def _wanted(key):
    if key.endswith("_keywords") or key == "header_names":
        return "a list of text, such as [GAIN, EGAIN]"
    return {
        "filter_map": "lines 'name in the header: standard name'",
        "pixel_scale": "a number >= 0 [arcsec/pixel], 0 to take it from the header",
        "gain": "a number > 0 [electron/adu], or left out",
        "read_noise": "a number >= 0 [electron], or left out",
        "saturation": "a number > 0 [adu], or left out",
        "psf_degree": "a whole number >= 0, or left out",
        "psf_size": "an odd whole number >= 5 [pixel], or left out",
        "cutout_size": "a whole number >= 8 [pixel]",
    }.get(key, "text")


def _nearest(name, known):
    """Return ' Did you mean ...?', or '' when nothing is near."""
    lower = {item.lower(): item for item in known}
    near = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.5)
    return f" Did you mean {lower[near[0]]!r}?" if near else ""
