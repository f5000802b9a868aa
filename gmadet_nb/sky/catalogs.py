"""What others know of the sky: tables of known objects, read from files."""

import logging
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io.registry import IORegistryError
from astropy.table import Table, vstack

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.tables import as_floats

logger = logging.getLogger(__name__)

#: Kinds of which a candidate may be real, a person or a parameter deciding.
REAL_KINDS = ("variable", "minor planet", "transient")
#: Kinds beside which a candidate may be anything.
OTHER_KINDS = ("star", "galaxy")
UNKNOWN = "unknown"  # the kind of an object of which the table says none
_SAME_AS = {
    "variable star": "variable",
    "asteroid": "minor planet",
    "comet": "minor planet",
    "moving object": "minor planet",
    "supernova": "transient",
}
_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".vot": "votable",
    ".xml": "votable",
}
_COLUMNS = ("name", "kind", "ra", "dec", "mjd", "radius")
_WRITE = {
    "ra": "decimal degrees",
    "dec": "decimal degrees",
    "mjd": "modified Julian dates as plain numbers, such as 61113.05",
    "radius": "arcsec as plain numbers",
}
_UNITS = {"ra": u.deg, "dec": u.deg, "mjd": u.d, "radius": u.arcsec}


def read_known(paths):
    """Read tables of known objects into one.

    Parameters
    ----------
    paths : list of str or Path
        ECSV, CSV or VOTable by their suffix (.ecsv, .csv, .vot, .xml). Columns ``ra``
        and ``dec`` [deg, or the unit that the table states]; where there are any,
        ``kind`` (`REAL_KINDS`, `OTHER_KINDS` or another word), ``name``, ``mjd`` [d,
        UTC] at which an object that moves is there, and ``radius`` [arcsec] out to
        which it reaches. Other columns are left alone.

    Returns
    -------
    astropy.table.Table
        ``name``, ``kind`` (lower case, "unknown" where none is said), ``ra``, ``dec``
        [deg], ``mjd`` [d], ``radius`` [arcsec], NaN where unknown. Rows without a
        position, and minor planets without a time, are left out: ``meta`` counts them
        as ``n_no_place`` and ``n_no_time``.

    Raises
    ------
    BadInputError
        If a file is absent, has another format, lacks ``ra`` or ``dec``, or holds
        what is no number or no place on the sky.
    """
    tables = [_empty(), *(_read_one(Path(path)) for path in paths)]
    known = vstack(tables, metadata_conflicts="silent")
    no_place = ~np.isfinite(known["ra"] + known["dec"])
    no_time = (known["kind"] == "minor planet") & np.isnan(known["mjd"])
    known = known[~no_place & ~no_time]
    known.meta = {
        "n_no_place": int(no_place.sum()),
        "n_no_time": int((no_time & ~no_place).sum()),
    }
    return known


def _read_one(path):
    """Read one table and bring it to our columns and units."""
    table = _open(path)
    missing = [name for name in ("ra", "dec") if name not in table.colnames]
    if missing:
        raise BadInputError(
            f"{path} must have columns ra and dec [deg], and lacks "
            f"{' and '.join(missing)}: it has {', '.join(table.colnames) or 'none'}. "
            "Rename its columns."
        )
    known = Table()
    known["name"] = _texts(table, "name")
    words = [" ".join(word.lower().split("_")) for word in _texts(table, "kind")]
    kinds = [_SAME_AS.get(word.strip(), word.strip()) or UNKNOWN for word in words]
    known["kind"] = np.array(kinds, dtype=str)
    for name, unit in _UNITS.items():
        known[name] = _numbers(table, name, unit, path) * unit
    known["ra"] = _on_sky(known, path) * u.deg
    radius = as_floats(known["radius"])
    if np.any(radius < 0):
        raise BadInputError(
            f"{path}: a radius must be 0 or more [arcsec], got "
            f"{np.nanmin(radius):g}. Leave it empty where it is not known."
        )
    return known


def _open(path):
    """Read a table by its suffix, with its columns in lower case."""
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInputError(
            f"A table of known objects must end in {', '.join(_FORMATS)}, got "
            f"{str(path)!r}. Write the table in one of these formats."
        )
    if not path.is_file():
        raise BadInputError(
            f"known_objects must name tables, and {str(path)!r} is no file. Correct "
            "the path in known_objects."
        )
    try:
        table = Table.read(path, format=kind)
    # Whatever a broken file makes the parsers of three formats raise.
    except (ValueError, TypeError, IndexError, OSError, IORegistryError) as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInputError(
            f"{path} must be a table ({kind}), but: {text[0].rstrip('.')}. Write it "
            "again, or name it by the format that it has."
        ) from None
    lower = [name.lower() for name in table.colnames]
    for name in _COLUMNS:
        if lower.count(name) > 1:
            raise BadInputError(
                f"{path} must have one column {name}, and has {lower.count(name)}, as "
                "capitals do not count. Rename the others."
            )
        if name in lower:
            table.rename_column(table.colnames[lower.index(name)], name)
    return table


def _texts(table, name):
    """Return a column as texts, "" where it is masked or not there."""
    if name not in table.colnames:
        return np.full(len(table), "", dtype="U1")
    column = np.ma.asarray(table[name])
    return np.ma.filled(column.astype(str), "").astype(str)


def _numbers(table, name, unit, path):
    """Return a column as floats in our unit, NaN where it is masked or not there."""
    if name not in table.colnames:
        return np.full(len(table), np.nan)
    if not len(table):
        return np.zeros(0)
    column = table[name]
    try:
        return as_floats(column) * (column.unit or unit).to(unit)
    except (ValueError, TypeError, u.UnitConversionError) as error:
        raise BadInputError(
            f"{path}: {name} must be numbers [{unit}], but: {str(error).rstrip('.')}. "
            f"Write {_WRITE[name]}."
        ) from None


def _on_sky(known, path):
    """Return right ascensions in [0, 360) [deg] where all positions are on the sky."""
    ra, dec = as_floats(known["ra"]), as_floats(known["dec"])
    off = (np.abs(dec) > 90) | (ra < -180) | (ra > 360)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise BadInputError(
            f"{path}: ra must be in -180 to 360 and dec in -90 to 90 [deg], got "
            f"{ra[row]:g} and {dec[row]:g} in row {row + 1}. Correct that "
            "row."
        )
    return ra % 360


def _empty():
    dtype = (str, str, float, float, float, float)
    return Table(names=_COLUMNS, dtype=dtype, units=_UNITS)
