"""What share of the injected sources is recovered: fractions and their intervals."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from scipy import optimize, special, stats

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.tables import as_floats


@dataclass(frozen=True, kw_only=True)
class Fit50:
    """A completeness curve fitted; m50 is NaN where it cannot be had.

    Attributes
    ----------
    m50, m50_err : float
        Where half is recovered, and its standard error [unit of the axis].
    width, width_err : float
        Standard deviation of the falling error function [the same unit].
    plateau : float
        Completeness far on the bright side.
    n : int
        Injected sources it stands on.
    reason : str
        Why there is none; "" where there is one.
    """

    m50: float
    m50_err: float
    width: float
    width_err: float
    plateau: float
    n: int
    reason: str


def binomial_interval(k, n, *, confidence=0.95):
    """Return the Clopper-Pearson interval of a fraction k / n.

    It holds the true fraction in at least the stated share of cases, whatever
    n is; (0, 1) where n is 0.

    Parameters
    ----------
    k, n : int or arrays of int
        Successes and trials.
    confidence : float
        Share of cases, between 0 and 1.

    Returns
    -------
    low, high : float or arrays

    Notes
    -----
    Clopper & Pearson 1934, Biometrika 26, 404.
    """
    k, n = np.asarray(k), np.asarray(n)
    if np.any((k < 0) | (k > n)):
        raise BadInputError(f"Successes must be between 0 and trials, got {k} of {n}.")
    if not 0 < confidence < 1:
        raise BadParameterError(f"Confidence must be in (0, 1), got {confidence}.")
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, np.maximum(k, 1), n - k + 1)
    high = stats.beta.ppf(1 - tail, k + 1, np.maximum(n - k, 1))
    low, high = np.where(k > 0, low, 0.0), np.where(k < n, high, 1.0)
    return (low, high) if low.ndim else (float(low), float(high))


def rate(k, n):
    """Return a fraction with its interval as a dict: value, low, high, k, n."""
    low, high = binomial_interval(k, n)
    value = float(k / n) if n else np.nan
    return {"value": value, "low": low, "high": high, "k": int(k), "n": int(n)}


def completeness(values, recovered, bins):
    """Count what was recovered in bins of magnitude or signal to noise.

    Parameters
    ----------
    values : (n,) array
        Magnitude [mag] or S/N of each injected source.
    recovered : (n,) bool array
        Whether it was found.
    bins : (m + 1,) array
        Edges, rising; a bin holds its lower edge, the last both.

    Returns
    -------
    astropy.table.Table
        One row a bin: ``bin_low``, ``bin_high``, ``n_injected``,
        ``n_recovered``, ``completeness`` (NaN where nothing was injected),
        ``low``, ``high`` (95 %).
    """
    values, recovered = finite_pairs(values, recovered)
    bins = np.asarray(bins, float)
    if bins.ndim != 1 or len(bins) < 2 or not (np.diff(bins) > 0).all():
        raise BadParameterError(f"Bin edges must rise, two or more, got {bins}.")
    n_injected = np.histogram(values, bins)[0]
    n_recovered = np.histogram(values[recovered > 0], bins)[0]
    low, high = binomial_interval(n_recovered, n_injected)
    fraction = np.full(len(n_injected), np.nan)
    np.divide(n_recovered, n_injected, out=fraction, where=n_injected > 0)
    columns = [bins[:-1], bins[1:], n_injected, n_recovered, fraction, low, high]
    names = [
        "bin_low",
        "bin_high",
        "n_injected",
        "n_recovered",
        "completeness",
        "low",
        "high",
    ]
    return Table(columns, names=names)


def fit_m50(mags, recovered, *, min_each=5):
    """Fit the magnitude at which half of the sources are recovered.

    The model is plateau * (1 - erf((m - m50) / (sqrt(2) width))) / 2, fitted to
    the single sources by maximum likelihood (no bins). For a signal to noise,
    which rises with completeness, pass ``-log10(snr)``.

    Parameters
    ----------
    mags : (n,) array
        Magnitudes [mag].
    recovered : (n,) bool array
        Whether each was found.
    min_each : int
        At least so many found and so many missed are needed.

    Returns
    -------
    Fit50
        With NaN and a reason where the sources do not determine it. m50 is
        where the curve is at half of its plateau.
    """
    mags, found = finite_pairs(mags, recovered)
    n, n_found = len(mags), int(found.sum())

    def none(reason):
        nan = np.nan
        return Fit50(
            m50=nan,
            m50_err=nan,
            width=nan,
            width_err=nan,
            plateau=nan,
            n=n,
            reason=reason,
        )

    if n_found < min_each or n - n_found < min_each:
        return none(
            f"{n_found} found and {n - n_found} missed: {min_each} of each are needed"
        )
    spread = float(np.ptp(mags))
    if spread == 0:
        return none("all magnitudes are the same")

    def cost(p):
        m50, log_width, logit = p
        z = (mags - m50) / np.exp(log_width)
        chance = special.expit(logit) * special.ndtr(-z)
        chance = np.clip(chance, 1e-9, 1 - 1e-9)
        return -np.sum(np.where(found > 0, np.log(chance), np.log1p(-chance)))

    bounds = [
        (mags.min() - spread, mags.max() + spread),
        (np.log(spread / 1000), np.log(3 * spread)),
        (-2.0, 7.0),
    ]
    starts = [
        (np.quantile(mags, q), np.log(spread / 10), logit)
        for q in (0.3, 0.5, 0.7, 0.9)
        for logit in (2.0, 5.0)
    ]
    # Nelder-Mead needs no linear algebra: with three parameters the threads of a
    # BLAS cost ten times more than they bring on a busy machine.
    options = {"xatol": 1e-4, "fatol": 1e-4, "maxiter": 1000}
    fits = [
        optimize.minimize(cost, s, bounds=bounds, method="Nelder-Mead", options=options)
        for s in starts
    ]
    best = min(fits, key=lambda fit: fit.fun)
    m50, width = float(best.x[0]), float(np.exp(best.x[1]))
    if not mags.min() <= m50 <= mags.max():
        return none("completeness does not cross one half within the magnitudes")
    errors = _errors(cost, best.x)
    return Fit50(
        m50=m50,
        m50_err=errors[0],
        width=width,
        width_err=errors[1] * width,
        plateau=float(special.expit(best.x[2])),
        n=n,
        reason="",
    )


def _errors(cost, x):
    """Return standard errors from the curvature of -log likelihood; NaN if flat."""
    n = len(x)
    step = 1e-3 * np.maximum(np.abs(x), 1.0)
    curve = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            di, dj = step * (np.arange(n) == i), step * (np.arange(n) == j)
            second = cost(x + di + dj) - cost(x + di - dj)
            second += cost(x - di - dj) - cost(x - di + dj)
            curve[i, j] = second / (4 * step[i] * step[j])
    # The plateau is often at its bound, flat: then the other two alone.
    for keep in (n, n - 1):
        try:
            variance = np.diag(np.linalg.inv(curve[:keep, :keep]))
        except np.linalg.LinAlgError:
            continue
        if (variance > 0).all():
            return [*map(float, np.sqrt(variance)), *[np.nan] * (n - keep)]
    return [np.nan] * n


def finite_pairs(values, flags):
    """Return values and flags (as 0 or 1) of the rows whose value is finite."""
    values = as_floats(values)
    flags = np.asarray(flags).astype(float)
    if values.shape != flags.shape or values.ndim != 1:
        raise BadInputError(
            f"There must be one flag for each value, got {flags.shape} for "
            f"{values.shape}."
        )
    good = np.isfinite(values)
    return values[good], flags[good]
