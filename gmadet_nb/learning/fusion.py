"""One score from two judges: the network on the pixels, the trees on the numbers."""

from dataclasses import dataclass

import numpy as np

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning.calibration import (
    Calibration,
    better,
    choose_calibration,
    cross_entropy,
    cross_fitted,
    fit_temperature,
)

MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """What makes one calibrated logit of those of several judges.

    Attributes
    ----------
    judges : list of str
        Names, in the order of the columns.
    use : str
        "mean", or the name of the judge that counts alone.
    calibrations : list of Calibration
        One a judge.
    last : Calibration
        Of what they give together: the mean of two that agree for reasons of
        their own is less sure than it may be.
    losses : dict
        Mean cross-entropy of each choice, on candidates that did not choose.
    """

    judges: list
    use: str
    calibrations: list
    last: Calibration
    losses: dict

    def apply(self, logits):
        """Return calibrated logits.

        Parameters
        ----------
        logits : (n, n_judges) array
            As the judges gave them.

        Returns
        -------
        (n,) float array
            NaN where a judge that counts has no logit.
        """
        logits = np.asarray(logits, float)
        if logits.ndim != 2 or logits.shape[1] != len(self.judges):
            raise BadInputError(
                f"Logits must have the shape (n, {len(self.judges)}), one column for "
                f"each of {', '.join(self.judges)}, got {logits.shape}."
            )
        single = self.apply_single(logits)
        if self.use == MEAN:
            return self.last.apply(single.mean(axis=1))
        return self.last.apply(single[:, self.judges.index(self.use)])

    def apply_single(self, logits):
        """Return each judge's own calibrated logits: (n, n_judges) array."""
        columns = zip(self.calibrations, np.asarray(logits, float).T, strict=True)
        return np.stack([one.apply(column) for one, column in columns], axis=1)

    def as_dict(self):
        """Return what a model card holds of it."""
        return {
            "judges": self.judges,
            "use": self.use,
            "calibrations": [one.as_dict() for one in self.calibrations],
            "last": self.last.as_dict(),
            "losses": self.losses,
        }

    @classmethod
    def from_dict(cls, values):
        """Make one from a model card.

        Raises
        ------
        BadInputError
            If something is missing or too much.
        """
        try:
            calibrations = [Calibration(**one) for one in values["calibrations"]]
            last = Calibration(**values["last"])
            return cls(**values | {"calibrations": calibrations, "last": last})
        except (KeyError, TypeError) as error:
            raise BadInputError(
                f"The model card holds no whole fusion ({error}). Run 08_train again."
            ) from error


def choose_fusion(logits, is_real, groups, *, judges):
    """Calibrate each judge, and take their mean or the better one alone.

    Each choice is judged on each group of candidates after fitting to the
    others. The mean counts unless a judge alone has a lower cross-entropy by
    more than the standard error of the difference.

    Parameters
    ----------
    logits : (n, n_judges) array
        Of candidates that the judges were not trained on.
    is_real : (n,) bool array
        The labels.
    groups : (n,) array
        Two or more values: the folds.
    judges : list of str
        Names, one a column.

    Returns
    -------
    Fusion
        Fitted to all.
    """
    logits = np.asarray(logits, float)
    some = np.isfinite(logits).all(axis=1)
    logits, real = logits[some], np.asarray(is_real, bool)[some]
    groups = np.asarray(groups)[some]
    chosen = [choose_calibration(column, real, groups)[0] for column in logits.T]
    fits = {MEAN: _fitter(judges, MEAN, chosen)}
    fits |= {name: _fitter(judges, name, chosen) for name in judges}
    if len(judges) == 1:
        del fits[MEAN]
    held_out = {
        name: cross_fitted(logits, real, groups, fit) for name, fit in fits.items()
    }
    losses = {
        name: np.logaddexp(0, values) - real * values
        for name, values in held_out.items()
    }
    use = better(losses, next(iter(fits)))
    found = fits[use](logits, real)
    return Fusion(
        judges=list(judges),
        use=use,
        calibrations=found.calibrations,
        last=found.last,
        losses={name: cross_entropy(real, value) for name, value in held_out.items()},
    )


def _fitter(judges, use, chosen):
    """Return a function that fits a `Fusion` of given kinds to logits and labels."""

    def fit(logits, is_real):
        kinds = zip(chosen, logits.T, strict=True)
        calibrations = [one.refit(column, is_real) for one, column in kinds]
        line = Calibration(kind="temperature", temperature=1.0, shift=0.0, knots=[])
        bare = Fusion(
            judges=list(judges),
            use=use,
            calibrations=calibrations,
            last=line,
            losses={},
        )
        last = fit_temperature(bare.apply(logits), is_real)
        return Fusion(
            judges=list(judges),
            use=use,
            calibrations=calibrations,
            last=last,
            losses={},
        )

    return fit
