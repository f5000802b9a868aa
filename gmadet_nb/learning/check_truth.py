"""Known transients, of a table that trains nothing, among the ranked candidates."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError

_TRUTH = {
    "transient_id": "str",
    "exposure_id": "str",
    "x": "float",
    "y": "float",
    "mag": "float",
    "snr": "float",
    "on_galaxy": "bool",
}


def read_truth(path):
    """Read a table of known transients, or an empty one where ``path`` is ""."""
    if not path:
        return Table(names=list(_TRUTH), dtype=list(_TRUTH.values()))
    try:
        truth = Table.read(path, format="ascii.ecsv")
    except FileNotFoundError:
        raise BadParameterError(
            f"truth must name a table of known transients, and {path!r} is not there."
        ) from None
    missing = [name for name in _TRUTH if name not in truth.colnames]
    if missing:
        raise BadInputError(
            f"{path!r} must have the columns {', '.join(_TRUTH)}, and lacks "
            f"{', '.join(missing)}."
        )
    return truth


def truth_not_seen(truth, ranked):
    """Leave out known transients on exposures of which candidates were seen.

    All of them, detected or not, so that the share that was detected stays true.

    Parameters
    ----------
    truth : astropy.table.Table
        From `read_truth`.
    ranked : astropy.table.Table
        All candidates, with ``exposure_id`` and ``seen``.
    """
    seen = set(ranked["exposure_id"][np.asarray(ranked["seen"], bool)])
    return truth[np.array([key not in seen for key in truth["exposure_id"]], bool)]


def find_truth(truth, ranked, exposures):
    """Find each known transient among the ranked candidates of its exposure.

    Parameters
    ----------
    truth : astropy.table.Table
        A row a transient and exposure: ``transient_id``, ``exposure_id``, ``x``,
        ``y`` [pixel].
    ranked : astropy.table.Table
        As `gmadet_nb.learning.check_ranking.rank_candidates` gives it.
    exposures : astropy.table.Table
        ``exposure_id``, ``fwhm`` [pixel], ``used``: one that was set aside is left out.

    Returns
    -------
    astropy.table.Table
        The rows of ``truth`` on used exposures with ``candidate_id`` (the nearest
        within one FWHM, "" if none), ``detected``, ``kept`` and ``rank`` (0 if not
        detected).
    """
    fwhm = {
        str(row["exposure_id"]): float(row["fwhm"]) for row in exposures if row["used"]
    }
    used = [str(key) in fwhm for key in truth["exposure_id"]]
    found = truth[np.array(used, dtype=bool)]
    exposure = np.asarray(ranked["exposure_id"]).astype(str)
    x, y = np.asarray(ranked["x"], float), np.asarray(ranked["y"], float)
    nearest = []
    for row in found:
        here = np.flatnonzero(exposure == str(row["exposure_id"]))
        distance = np.hypot(x[here] - row["x"], y[here] - row["y"])
        near = len(here) > 0 and distance.min() <= fwhm[str(row["exposure_id"])]
        nearest.append(int(here[np.argmin(distance)]) if near else -1)
    nearest = np.array(nearest, dtype=int)
    ids = np.append(np.asarray(ranked["candidate_id"]).astype(str), "")
    found["candidate_id"] = ids[nearest]
    found["detected"] = nearest >= 0
    found["kept"] = np.append(np.asarray(ranked["kept"], bool), False)[nearest]
    found["rank"] = np.append(np.asarray(ranked["rank"], int), 0)[nearest]
    return found
