"""A run folder made of stamps from elsewhere, to label and to train on."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadParameterError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning.cutouts import create_store

# What 04_cutouts says of the source that a candidate is matched with.
_OF_SOURCES = (
    "separation",
    "separation_fwhm",
    "mag",
    "source_flux",
    "source_snr",
    "difference_snr",
)


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
    BadParameterError
        If there is a run in the folder already: nothing is overwritten.
    """
    tables = [run.table_path(name) for name in ("exposures", "candidates")]
    for path in (run.cutouts_path, run.params_path, *tables):
        if path.exists():
            raise BadParameterError(
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
    made = {
        "exposures": _exposures(table, source),
        "crossmatch": _crossmatch(table),
        "candidates": _candidates(table),
    }
    for each in made.values():
        each.meta["source"] = source
    _write_params(run, store_size, source)
    # The candidates last: who finds them finds the rest, too.
    for name, each in made.items():
        run.write_table(name, each)


def _candidates(table):
    """Return what is known of the stamps, as of candidates that were searched for.

    What a survey says of them is ``survey_score``; ``scores.ecsv`` is our model's.
    """
    known = table["candidate_id", "exposure_id", "mag", "mag_err", "filter", "fwhm"]
    for name in ("x", "y", "ra", "dec", "flux", "flux_err", "snr", "psf_fwhm"):
        known[name] = np.nan
    if np.isfinite(table["score"]).any():
        known["survey_score"] = table["score"]
    return known


def _crossmatch(table):
    """Return the labels of the stamps as 04_cutouts has them; none was injected."""
    found = table["exposure_id", "candidate_id"]
    found["source_id"], found["match"], found["n_plausible"] = "", "unmatched", 0
    for name in _OF_SOURCES:
        found[name] = np.nan
    for name in ("near_galaxy", "usable", "edge"):
        found[name] = name == "usable"
    found["auto_label"] = table["label"]
    found["auto_origin"] = np.where(table["label"] == "", "", "imported")
    return found


def _exposures(table, source):
    """Return a row for each exposure, or source, that stamps belong to."""
    found = Table({"exposure_id": np.unique(table["exposure_id"])})
    found["path"], found["used"] = source, True
    for name in ("pixel_scale", "fwhm"):
        found[name] = np.nan
    return found


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
