"""Completeness stage by stage: what detection, filters and classifier each lose."""

from itertools import pairwise

import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.learning.check_simulation import recovered
from gmadet_nb.learning.completeness import (
    binomial_interval,
    completeness,
    fit_m50,
    rate,
)

#: Each holds what the one before it has left.
STAGES = ("detected", "past the filters", "past the classifier")
_N_BINS = 8
_LEAST_SNR = 1.0  # one source on a patch of huge noise must not stretch the axis
# A loss below these is the price of any classifier [mag, share].
_DEPTH, _BRIGHT_LOSS = 0.3, 0.05
BRIGHT_SNR = 10.0  # from here on faintness is no excuse
_HALF = 0.5
# What a stage that loses sources wants.
_STEPS = {
    "detected": "Lower detection_threshold in 03_detect, or look at its differences.",
    "past the filters": "Look at 10_kept_and_width, and widen fwhm_ratio_min to "
    "fwhm_ratio_max in 10_check_inference.",
    "past the classifier": "Inject more faint ones (snr_range in 02_simulate) and "
    "train again, or raise target_fpr in 08_train.",
}


def follow_injected(crossmatch, ranked):
    """Follow each injected source through detection, filters and classifier.

    Left out are those whose candidate trained the model that judges it. A candidate
    without a label trained none.

    Parameters
    ----------
    crossmatch : astropy.table.Table
        As in the run folder.
    ranked : astropy.table.Table
        As `gmadet_nb.learning.check_ranking.rank_candidates` gives it.

    Returns
    -------
    astropy.table.Table
        One row a source: ``source_id``, ``exposure_id``, ``mag`` [mag], ``snr``
        (injected, on the difference), ``near_galaxy``, and a bool for each of `STAGES`.
    """
    names = ["source_id", "exposure_id", "candidate_id", "mag", "near_galaxy"]
    sources = recovered(crossmatch)
    table = sources[names]
    table["snr"] = np.maximum(as_floats(sources["difference_snr"]), _LEAST_SNR)
    detected = np.asarray(sources["recovered"], bool)
    ids = np.ma.filled(np.ma.asarray(table["candidate_id"]).astype(str), "")
    rows = rows_of(ids, ranked["candidate_id"], absent=-1)
    rows[~detected] = -1

    def of_candidate(values):
        return np.append(np.asarray(values, bool), False)[rows]

    fine, kept = of_candidate(ranked["fwhm_ok"]), of_candidate(ranked["kept"])
    for name, passed in zip(STAGES, (detected, fine, kept), strict=True):
        table[name] = passed
    trained = np.asarray(ranked["used"], bool) & np.asarray(ranked["seen"], bool)
    table.remove_column("candidate_id")
    return table[~of_candidate(trained & (np.asarray(ranked["label"]) != ""))]


def stage_table(sources):
    """Count what is left after each stage, in bins of magnitude and of S/N.

    Parameters
    ----------
    sources : astropy.table.Table
        From `follow_injected`.

    Returns
    -------
    astropy.table.Table
        ``stage``, ``axis`` ("mag" or "snr") and the columns of
        `gmadet_nb.learning.completeness.completeness`.
    """
    tables = []
    for axis in ("mag", "snr") if len(sources) else ():
        values = as_floats(sources[axis])
        low, high = np.nanmin(values), np.nanmax(values)
        space = np.linspace if axis == "mag" else np.geomspace
        edges = space(low, high if high > low else low + 1, _N_BINS + 1)
        edges[-1] = max(high, edges[-1])  # rounding must not leave the last one out
        for stage in STAGES:
            table = completeness(values, np.asarray(sources[stage], bool), edges)
            table.add_columns([stage, axis], names=("stage", "axis"), indexes=[0, 0])
            tables.append(table)
    if tables:
        return vstack(tables)
    names = ("stage", "axis", "bin_low", "bin_high", "n_injected", "n_recovered")
    names += ("completeness", "low", "high")
    dtype = (str, str, float, float, int, int, float, float, float)
    return Table(names=names, dtype=dtype)


def stage_fits(sources):
    """Fit the magnitude and the S/N at which half is left after each stage.

    Returns
    -------
    astropy.table.Table
        ``stage``, ``n``, ``n_left``, ``n_bright_left`` (of an injected S/N of 10 or
        more), ``m50``, ``m50_err`` [mag], ``snr50``, ``plateau`` (completeness far on
        the bright side), ``reason`` ("" where there is an m50).
    """
    mag, minus_log = as_floats(sources["mag"]), -np.log10(as_floats(sources["snr"]))
    bright = as_floats(sources["snr"]) >= BRIGHT_SNR
    rows = []
    for stage in STAGES:
        left = np.asarray(sources[stage], bool)
        fit = fit_m50(mag, left)
        snr50 = 10 ** -fit_m50(minus_log, left).m50
        values = (fit.m50, fit.m50_err, snr50, fit.plateau, fit.reason)
        counts = (len(left), int(left.sum()), int((left & bright).sum()))
        rows.append((stage, *counts, *values))
    names = ("stage", "n", "n_left", "n_bright_left")
    names += ("m50", "m50_err", "snr50", "plateau", "reason")
    table = Table(rows=rows, names=names)
    for name in ("m50", "m50_err", "snr50", "plateau"):
        table[name].format = ".2f"
    return table


def describe_stages(fits):
    """Say in words what filters and classifier cost; costly ones apart.

    Losses are counted, and warned of where chance does not explain them (95%); the
    depth that they cost takes a fit, and where there is none it is not tested.

    Parameters
    ----------
    fits : astropy.table.Table
        From `stage_fits`.

    Returns
    -------
    said, warned : list of str
    """
    said, warned = [], []
    for before, after in pairwise(fits):
        lost = int(before["n_left"] - after["n_left"])
        if not before["n_left"]:
            continue
        depth = before["m50"] - after["m50"]
        text = f"{lost} of {before['n_left']} injected sources that are "
        text += f"{before['stage']} are not {after['stage']}"
        if np.isfinite(depth):
            text += f", which costs {max(depth, 0):.2f} mag of depth"
        else:
            text += "; the depth that this costs is not tested, as "
            text += _why_not(before, after)
        said.append(f"{text}.")
        if depth > _DEPTH:
            warned.append(
                f"{text}: faint sources are detected and then thrown away. "
                f"{_STEPS[after['stage']]}"
            )
        warned += _losses(before, after)
    return said, warned


def depth_is_tested(fits):
    """Say whether each stage has a depth, so that what it costs is known."""
    return bool(np.isfinite(np.asarray(fits["m50"], float)).all())


def _why_not(before, after):
    stage = after if np.isfinite(before["m50"]) else before
    return f"of those {stage['stage']} {stage['reason']}"


def _losses(before, after):
    """Warn of a stage that loses bright sources, or more than half of all."""
    words = []
    n, left = int(before["n_left"]), int(after["n_left"])
    if not left or binomial_interval(left, n)[1] < _HALF:
        words.append(
            f"{left or 'None'} of {n} injected sources that are {before['stage']} "
            f"{'is' if left < 2 else 'are'} {after['stage']}: this stage throws away "
            f"what it should keep. {_STEPS[after['stage']]}"
        )
    n = int(before["n_bright_left"])
    lost = rate(n - int(after["n_bright_left"]), n)
    if n and lost["low"] > _BRIGHT_LOSS:
        words.append(
            f"{lost['k']} of {n} bright injected sources (S/N {BRIGHT_SNR:g} or more) "
            f"that are {before['stage']} are not {after['stage']} ({lost['low']:.0%} "
            f"to {lost['high']:.0%}): look at the worst false negatives."
        )
    return words
