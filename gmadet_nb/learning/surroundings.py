"""What 04_cutouts knew of the surroundings of each candidate."""

import numpy as np

from gmadet_nb.files.tables import as_floats, rows_of

_NUMBERS = ("galaxy_distance", "galaxy_radii")


def add_known(table, crossmatch):
    """Return a table of candidates with what they lie on, as the crossmatch says.

    Parameters
    ----------
    table : astropy.table.Table
        ``candidate_id``.
    crossmatch : astropy.table.Table
        ``candidate_id`` and what there is of ``known_kind``, ``galaxy_distance``
        [pixel] and ``galaxy_radii``.

    Returns
    -------
    astropy.table.Table
        The same rows with ``known_kind`` ("" where nothing is known),
        ``galaxy_distance``, ``galaxy_radii``, and ``on_galaxy``: 1 within one
        half-light radius, 0 farther out; all NaN where no galaxies were looked for.
    """
    table = table.copy()
    row = rows_of(table["candidate_id"], crossmatch["candidate_id"], absent=-1)
    kinds = np.full(len(crossmatch), "")
    if "known_kind" in crossmatch.colnames:
        kinds = np.asarray(crossmatch["known_kind"]).astype(str)
    table["known_kind"] = np.append(kinds, "")[row]
    for name in _NUMBERS:
        values = np.full(len(crossmatch), np.nan)
        if name in crossmatch.colnames:
            values = as_floats(crossmatch[name])
        table[name] = np.append(values, np.nan)[row]
    radii = as_floats(table["galaxy_radii"])
    table["on_galaxy"] = np.where(np.isnan(radii), np.nan, radii <= 1)
    return table
