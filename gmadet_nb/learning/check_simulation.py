"""Tables of 05_check_simulation: what share of the injected sources was found."""

import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.completeness import (
    binomial_interval,
    completeness,
    fit_m50,
    rate,
)

_LEAST_SNR = 1.0  # of the bins: below it nothing is found


def recovered(crossmatch):
    """Return the injected sources only, with a column ``recovered``.

    Recovered is a source with a candidate at its place, also where more than one
    is plausible ("ambiguous"): it was detected, though it trains nothing.
    """
    sources = crossmatch[np.asarray(crossmatch["source_id"]).astype(str) != ""]
    match = np.asarray(sources["match"]).astype(str)
    sources["recovered"] = (match == "matched") | (match == "ambiguous")
    return sources


def groups_of(sources):
    """Return group -> row mask: all, on galaxies or not, and each exposure."""
    near = np.asarray(sources["near_galaxy"], dtype=bool)
    exposure = np.asarray(sources["exposure_id"]).astype(str)
    groups = {"all": np.ones(len(sources), dtype=bool)}
    # Half of a split by galaxies would only repeat "all".
    if near.any() and not near.all():
        groups |= {"near a galaxy": near, "not near a galaxy": ~near}
    return groups | {key: exposure == key for key in sorted(set(exposure))}


def completeness_table(sources, *, n_mag_bins):
    """Count recovered and injected per magnitude and per S/N, for each group.

    Parameters
    ----------
    sources : astropy.table.Table
        As `recovered` gives it.
    n_mag_bins : int
        Bins of magnitude, of equal width; as many of the S/N on the difference,
        of equal ratio. An S/N below 1 counts as 1, so that the first bin holds it.

    Returns
    -------
    astropy.table.Table
        ``group``, ``axis`` ("mag" or "snr"), and the columns of
        `gmadet_nb.learning.completeness.completeness`. Its ``meta`` holds the
        figures of "all" that a summary wants.
    """
    if n_mag_bins < 1:
        raise BadParameterError(f"n_mag_bins must be 1 or more, got {n_mag_bins}.")
    if len(sources) == 0:
        raise BadInputError(
            "There must be injected sources to check, and crossmatch has none. "
            "Run 02_simulate to 04_cutouts with n_sources above 0."
        )
    tables = []
    values = {
        "mag": np.asarray(sources["mag"], float),
        # One source on a patch of huge noise must not stretch the axis.
        "snr": np.maximum(np.asarray(sources["difference_snr"], float), _LEAST_SNR),
    }
    edges = {
        "mag": _edges(values["mag"], n_mag_bins),
        "snr": _ratio_edges(values["snr"], n_mag_bins),
    }
    found = np.asarray(sources["recovered"], bool)
    for group, rows in groups_of(sources).items():
        for axis, bins in edges.items():
            table = completeness(values[axis][rows], found[rows], bins)
            table.add_column(axis, name="axis", index=0)
            table.add_column(group, name="group", index=0)
            tables.append(table)
    return vstack(tables)


def fit_table(sources):
    """Fit the magnitude and the S/N of half completeness for each group.

    Returns
    -------
    astropy.table.Table
        ``group``, ``n`` injected, ``m50``, ``m50_err``, ``width``, ``plateau``,
        ``snr50`` (on the difference; NaN for single exposures, which have too few),
        ``reason`` ("" where there is an m50).
    """
    rows = []
    exposures = set(np.asarray(sources["exposure_id"]).astype(str))
    # Plain arrays: the fit calls them a thousand times, and columns are slow.
    mag, log_snr = np.array(sources["mag"], float), _log(sources["difference_snr"])
    found = np.array(sources["recovered"], bool)
    for group, mask in groups_of(sources).items():
        fit = fit_m50(mag[mask], found[mask])
        snr50 = np.nan
        if group not in exposures:
            snr50 = 10 ** -fit_m50(-log_snr[mask], found[mask]).m50
        values = (fit.m50, fit.m50_err, fit.width, fit.plateau, snr50, fit.reason)
        rows.append((group, int(mask.sum()), *values))
    names = ("group", "n", "m50", "m50_err", "width", "plateau", "snr50", "reason")
    table = Table(rows=rows, names=names)
    for name in ("m50", "m50_err", "width"):
        table[name].unit = "mag"
    for name in ("m50", "m50_err", "width", "plateau", "snr50"):
        table[name].format = ".2f"
    return table


def bright_recovered(sources, *, min_snr):
    """Count, per exposure, the bright sources on good pixels that were recovered.

    Parameters
    ----------
    sources : astropy.table.Table
        As `recovered` gives it.
    min_snr : float
        Least ``difference_snr``; rows that are not ``usable`` are left out.

    Returns
    -------
    astropy.table.Table
        ``exposure_id``, ``n``, ``n_recovered``, ``fraction`` (NaN where n is 0),
        ``low``, ``high`` (95 %).
    """
    snr = np.asarray(sources["difference_snr"], dtype=float)
    bright = sources[(snr >= min_snr) & np.asarray(sources["usable"], dtype=bool)]
    ids = sorted(set(np.asarray(sources["exposure_id"]).astype(str)))
    which = np.asarray(bright["exposure_id"]).astype(str)
    found = np.asarray(bright["recovered"], dtype=bool)
    n = np.array([(which == key).sum() for key in ids], dtype=int)
    k = np.array([(found & (which == key)).sum() for key in ids], dtype=int)
    fraction = np.full(len(ids), np.nan)
    np.divide(k, n, out=fraction, where=n > 0)
    low, high = binomial_interval(k, n)
    table = Table(
        [np.array(ids, dtype=str), n, k, fraction, low, high],
        names=("exposure_id", "n", "n_recovered", "fraction", "low", "high"),
    )
    for name in ("fraction", "low", "high"):
        table[name].format = ".3f"
    return table


def median_fraction(bright):
    """Return the median of the fractions over the exposures; NaN if none is known."""
    fraction = np.asarray(bright["fraction"], dtype=float)
    known = fraction[np.isfinite(fraction)]
    return float(np.median(known)) if len(known) else np.nan


def summarize(sources, fits, bright):
    """Return the figures of 05 that a summary wants, as plain numbers."""
    found = rate(int(np.sum(sources["recovered"])), len(sources))
    every = fits[0]
    return {
        "n_injected": len(sources),
        "n_recovered": found["k"],
        "recovered_fraction": float(found["value"]),
        "recovered_low": float(found["low"]),
        "recovered_high": float(found["high"]),
        "m50": float(every["m50"]),
        "m50_err": float(every["m50_err"]),
        "snr50": float(every["snr50"]),
        "bright_recovered_median": median_fraction(bright),
    }


def _edges(values, n_bins):
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, n_bins + 1)


def _ratio_edges(snr, n_bins):
    logs = _log(snr)
    edges = 10 ** _edges(logs, n_bins)
    # The logarithm and back must not leave the first and last source outside.
    known = np.asarray(snr, float)[np.isfinite(logs)]
    if len(known) and known.max() > known.min():
        edges[0], edges[-1] = known.min(), known.max()
    return edges


def _log(snr):
    """Return log10 of an S/N, NaN where it is not above 0."""
    snr = np.asarray(snr, float)
    out = np.full(snr.shape, np.nan)
    np.log10(snr, out=out, where=snr > 0)
    return out
