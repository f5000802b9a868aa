"""From logits to probabilities that mean what they say, and how well they do."""

from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.completeness import finite_pairs

KINDS = ("temperature", "isotonic")
_MAX_LOGIT = 30.0  # beyond it a probability is 1 in float64's eyes
_N_STEPS = 50  # of Newton, which takes about 8
_LEAST_SLOPE = 1e-3
_TILT = 1e-4  # of flat steps, so that no two logits become one


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A rising function from a model's logit to that of a calibrated probability.

    Attributes
    ----------
    kind : {"temperature", "isotonic"}
        A straight line, or a line from knot to knot.
    temperature, shift : float
        The line: (logit - shift) / temperature.
    knots : list of [float, float]
        Logit before and after, never falling; empty for a straight line. Beyond
        the first and the last the straight line's slope goes on.
    """

    kind: str
    temperature: float
    shift: float
    knots: list

    def apply(self, logits):
        """Return calibrated logits: (n,) float array; NaN stays NaN."""
        logits = np.clip(np.asarray(logits, float), -_MAX_LOGIT, _MAX_LOGIT)
        if not self.knots:
            return (logits - self.shift) / self.temperature
        before, after = np.array(self.knots, float).T
        inside = np.clip(logits, before[0], before[-1])
        steps = np.interp(inside, before, after) + _TILT * logits
        return steps + (logits - inside) / self.temperature

    def refit(self, logits, is_real):
        """Return a calibration of the same kind, fitted to other candidates."""
        fit = fit_temperature if self.kind == KINDS[0] else fit_isotonic
        return fit(logits, is_real)

    def as_dict(self):
        """Return what a model card holds of it."""
        return asdict(self)


def probability(logits):
    """Return 1 / (1 + exp(-logit)) as float64."""
    logits = np.clip(np.asarray(logits, float), -_MAX_LOGIT, _MAX_LOGIT)
    return 1 / (1 + np.exp(-logits))


def logit(probabilities):
    """Return log(P / (1 - P)), within 30 of 0; NaN stays NaN."""
    p = np.asarray(probabilities, float)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -_MAX_LOGIT, _MAX_LOGIT)


def fit_temperature(logits, is_real):
    """Fit the straight line of largest likelihood.

    The shift beside the temperature makes up for a share of real candidates
    that is not the one the model was trained for. Labels count as slightly less
    than sure, (n_real + 1) / (n_real + 2) and 1 / (n_bogus + 2), so that classes
    that a threshold parts have a finite slope, too. Source: Platt, Advances in
    Large Margin Classifiers (1999).

    Parameters
    ----------
    logits : (n,) array
        Of candidates that the model was not trained on; NaN left out.
    is_real : (n,) bool array
        Their labels.

    Returns
    -------
    Calibration
    """
    x, real = _checked(logits, is_real)
    n_real, n_bogus = real.sum(), len(real) - real.sum()
    target = np.where(real, (n_real + 1) / (n_real + 2), 1 / (n_bogus + 2))
    middle, scale = x.mean(), max(x.std(), 1e-6)
    design = np.stack([(x - middle) / scale, np.ones_like(x)], axis=1)
    weights = np.array([1.0, logit(target.mean())])
    loss = _cross_entropy(design @ weights, target).sum()
    for _ in range(_N_STEPS):
        p = probability(design @ weights)
        slope = design.T @ (p - target)
        curvature = (design.T * (p * (1 - p))) @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        while (new := _cross_entropy(design @ (weights - step), target).sum()) > loss:
            step = step / 2
            if np.abs(step).max() < 1e-12:
                break
        weights, loss = weights - step, min(new, loss)
        if np.abs(step).max() < 1e-9:
            break
    a = max(weights[0], _LEAST_SLOPE) / scale  # never against the model's order
    return Calibration(
        kind="temperature",
        temperature=float(1 / a),
        shift=float(middle - weights[1] / a),
        knots=[],
    )


def fit_isotonic(logits, is_real):
    """Fit the rising steps of largest likelihood.

    A step is a run of candidates along which the share of real ones does not rise.
    Shares of 0 and 1 count as half a candidate away from it.

    Parameters
    ----------
    logits, is_real : (n,) arrays
        As for `fit_temperature`.

    Returns
    -------
    Calibration
        A knot at each end of a step.
    """
    line = fit_temperature(logits, is_real)
    x, real = _checked(logits, is_real)
    # Equal logits must not be told apart by their labels.
    x, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    share = np.bincount(inverse, real) / count
    blocks = isotonic_regression(share, weights=count)
    first = blocks.blocks[:-1]
    size = np.add.reduceat(count, first)
    height = np.clip(blocks.x[first], 0.5 / size, 1 - 0.5 / size)
    # The clip lifts a short step above a longer one: smooth once more.
    height = logit(isotonic_regression(height, weights=size).x)
    last = np.append(first[1:], len(x)) - 1
    ends = zip(x[first], x[last], height, strict=True)
    knots = [
        [float(place), float(h)]
        for low, high, h in ends
        for place in ([low] if low == high else [low, high])
    ]
    return Calibration(
        kind="isotonic",
        temperature=line.temperature,
        shift=line.shift,
        knots=knots,
    )


def choose_calibration(logits, is_real, groups):
    """Fit the calibration that does better on candidates that it has not seen.

    Each group in turn is judged by what the others were fitted to. The isotonic
    steps win if their mean cross-entropy is lower by more than its standard error.

    Parameters
    ----------
    logits, is_real : (n,) arrays
        As for `fit_temperature`.
    groups : (n,) array
        Two or more values: the folds, or the exposures.

    Returns
    -------
    calibration : Calibration
        Fitted to all.
    losses : dict
        Mean cross-entropy of each kind on candidates not seen.
    """
    fits = dict(zip(KINDS, (fit_temperature, fit_isotonic), strict=True))
    losses = {
        kind: _cross_entropy(cross_fitted(logits, is_real, groups, fit), is_real)
        for kind, fit in fits.items()
    }
    kind = better(losses, KINDS[0])
    means = {name: float(np.nanmean(loss)) for name, loss in losses.items()}
    return fits[kind](logits, is_real), means


def cross_fitted(logits, is_real, groups, fit):
    """Return logits, each calibrated by a fit to the other groups.

    Parameters
    ----------
    logits : (n, ...) array
    is_real, groups : (n,) arrays
    fit : callable
        ``fit(logits, is_real)`` gives something with ``apply(logits)``.

    Returns
    -------
    (n,) array
        NaN where the others have one class only.
    """
    logits, real = np.asarray(logits, float), np.asarray(is_real, bool)
    groups = np.asarray(groups)
    names = np.unique(groups)
    if len(names) < 2:
        raise BadInputError(
            "A calibration must be judged by candidates of two or more groups, got "
            f"{len(names)}. Use more exposures."
        )
    result = np.full(len(real), np.nan)
    for name in names:
        out = groups == name
        if 0 < real[~out].sum() < (~out).sum():
            result[out] = fit(logits[~out], real[~out]).apply(logits[out])
    return result


def better(losses, simplest):
    """Return the name of the lowest mean loss; the simplest one where it is a draw.

    Parameters
    ----------
    losses : dict
        Name to the loss of each candidate, (n,) array; NaN left out.
    simplest : str
        It loses only to one that is lower by more than the standard error of
        their difference.

    Returns
    -------
    str
    """
    best = min(losses, key=lambda name: np.nanmean(losses[name]))
    gain = losses[simplest] - losses[best]
    gain = gain[np.isfinite(gain)]
    return best if gain.mean() > gain.std() / np.sqrt(len(gain)) else simplest


def cross_entropy(is_real, logits):
    """Return the mean cross-entropy of logits; NaN ones are left out."""
    return float(np.nanmean(_cross_entropy(np.asarray(logits, float), is_real)))


def _cross_entropy(logits, target):
    target = np.asarray(target, float)
    return np.logaddexp(0, logits) - target * logits


def _checked(logits, is_real):
    """Return finite logits and their labels, of both classes."""
    logits, real = finite_pairs(logits, is_real)
    real = np.asarray(real, bool)
    if real.all() or not real.any():
        raise BadInputError(
            f"A calibration needs real and bogus candidates, got {real.sum()} real and "
            f"{(~real).sum()} bogus. Raise calibration_fraction in 07_dataset."
        )
    return np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT), real
