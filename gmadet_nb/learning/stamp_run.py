"""A run folder made of stamps from elsewhere, to label and to train on."""

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning.cutouts import create_store


def make_stamp_run(run, stamps, *, source):
    """Write stamps as a run folder that ends before ``05_check_simulation``.

    Parameters
    ----------
    run : gmadet_nb.files.rundir.RunDir
    stamps : Stamps
    source : str
        Where they are from, for the tables.

    Raises
    ------
    BadInputError
        If there is a run in the folder already: nothing is overwritten.
    """
    tables = [run.table_path(name) for name in ("exposures", "candidates")]
    for path in (run.cutouts_path, run.params_path, *tables):
        if path.exists():
            raise BadInputError(
                f"A run folder to fill with stamps must be new, and {run.root} has "
                f"{path.name}. Name another one."
            )
    table, store_size = stamps.table, stamps.pixels.shape[1]
    with create_store(run.cutouts_path, size=store_size) as writer:
        for exposure_id in np.unique(table["exposure_id"]):
            rows = np.flatnonzero(table["exposure_id"] == exposure_id)
            writer.append(
                table["candidate_id"][rows], str(exposure_id), stamps.pixels[rows]
            )
    known = table["candidate_id", "exposure_id", "mag", "mag_err", "filter", "fwhm"]
    for name in ("x", "y", "flux", "flux_err", "snr", "psf_fwhm"):
        known[name] = np.nan
    crossmatch = table["exposure_id", "candidate_id"]
    crossmatch["auto_label"] = table["label"]
    crossmatch["auto_origin"] = np.where(table["label"] == "", "", "imported")
    for each in (known, crossmatch):
        each.meta["source"] = source
    run.write_table("crossmatch", crossmatch)
    if np.isfinite(table["score"]).any():
        scores = table["candidate_id", "exposure_id", "score"]
        scores.meta["source"] = source
        run.write_table("scores", scores)
    _write_params(run, store_size, source)
    # Last: who finds candidates finds the rest, too.
    run.write_table("candidates", known)


def _write_params(run, size, source):
    """Write what makes the folder a run of stamps, and keeps other workflows off."""
    lines = (
        f"# Made of the stamps of {source!r}.",
        "workflow: stamps  # no exposures: what needs them is refused here",
        f"cutout_size: {size}  # [pixel]",
        "",
    )
    with atomic_path(run.params_path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
