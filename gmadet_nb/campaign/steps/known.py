"""04: what is known of the surroundings of candidates, and what follows from it."""

import numpy as np

from gmadet_nb.campaign.steps.products import read_difference
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.files.tables import rows_of
from gmadet_nb.imaging import hosts
from gmadet_nb.sky.catalogs import OTHER_KINDS, REAL_KINDS


def find_hosts(exposure_id, *, run_dir):
    """Find the galaxies of the reference of one exposure.

    Returns
    -------
    galaxies : astropy.table.Table or None
        See `gmadet_nb.imaging.hosts.find_hosts`; None, too, where nothing was
        subtracted.
    """
    path = RunDir(run_dir).difference_path(exposure_id)
    return hosts.find_hosts(read_difference(path)) if path.is_file() else None


def add_columns(crossmatch, candidates, more):
    """Return the crossmatch with columns that are known by candidate.

    Parameters
    ----------
    crossmatch, candidates : astropy.table.Table
        ``candidate_id``.
    more : astropy.table.Table
        By row of ``candidates``; texts and numbers.

    Returns
    -------
    crossmatch : astropy.table.Table
        The new columns are "" and NaN where there is no candidate.
    """
    row = rows_of(crossmatch["candidate_id"], candidates["candidate_id"], absent=-1)
    crossmatch = crossmatch.copy()
    for name in more.colnames:
        column = more[name]
        absent = "" if column.dtype.kind == "U" else np.nan
        crossmatch[name] = np.append(np.asarray(column), absent)[row]
        crossmatch[name].unit = column.unit
    return crossmatch


def label_known(crossmatch):
    """Label what lies on a known object and is no injected source.

    On a variable, a minor planet or a transient it is "known", of origin "catalog";
    on an object of another kind, but a star or a galaxy, "ambiguous".

    Parameters
    ----------
    crossmatch : astropy.table.Table
        ``match``, ``known_kind``, ``auto_label``, ``auto_origin``.

    Returns
    -------
    crossmatch : astropy.table.Table
        The rows with new labels.
    """
    labeled = crossmatch.copy()
    kind = np.asarray(crossmatch["known_kind"])
    free = (np.asarray(crossmatch["match"]) == "unmatched") & (kind != "")
    free &= ~np.isin(kind, OTHER_KINDS)
    real = free & np.isin(kind, REAL_KINDS)
    labeled["auto_label"][free] = np.where(real[free], "known", "ambiguous")
    labeled["auto_origin"][free] = "catalog"
    return labeled
