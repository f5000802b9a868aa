"""What 04_cutouts knew of the surroundings of each candidate."""

import numpy as np

from gmadet_nb.files.tables import as_floats, rows_of

_TEXTS = ("known_kind", "known_name")
_NUMBERS = ("known_separation", "galaxy_distance", "galaxy_radii")


def add_known(table, crossmatch):
    """Return a table of candidates with what they lie on, as the crossmatch says.

    Parameters
    ----------
    table : astropy.table.Table
        ``candidate_id``.
    crossmatch : astropy.table.Table
        ``candidate_id`` and what there is of ``known_kind``, ``known_name``,
        ``known_separation`` [arcsec], ``galaxy_distance`` [pixel] and
        ``galaxy_radii``.

    Returns
    -------
    astropy.table.Table
        The same rows with these, "" and NaN where nothing is known, and
        ``on_galaxy``: 1 within one half-light radius, 0 farther out, NaN where no
        galaxies were looked for.
    """
    table = table.copy()
    row = rows_of(table["candidate_id"], crossmatch["candidate_id"], absent=-1)
    for name in _TEXTS:
        texts = np.full(len(crossmatch), "")
        if name in crossmatch.colnames:
            texts = np.asarray(crossmatch[name]).astype(str)
        table[name] = np.append(texts, "")[row]
    for name in _NUMBERS:
        values = np.full(len(crossmatch), np.nan)
        if name in crossmatch.colnames:
            values = as_floats(crossmatch[name])
        table[name] = np.append(values, np.nan)[row]
    table["known_separation"].unit, table["galaxy_distance"].unit = "arcsec", "pix"
    radii = as_floats(table["galaxy_radii"])
    table["on_galaxy"] = np.where(np.isnan(radii), np.nan, radii <= 1)
    return table
