"""Shortcut tests of 10_check_inference: what else the score could hang on."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning import evaluate, shortcuts
from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.changed import higher_as_is, score_changed
from gmadet_nb.learning.features import COLUMNS, candidate_features
from gmadet_nb.learning.other_half import judge_other_half, warn_of_halves
from gmadet_nb.learning.scorer import NETWORK, TREE_JUDGE, network_logits
from gmadet_nb.learning.trees import fit_trees, tree_logits

_N_GROUPS = 3  # of exposures: each is judged by trees that know the others
N_TESTS = 6
N_CHANGED = 300  # real cutouts that are blanked and shifted


@dataclass(frozen=True, kw_only=True)
class ShortcutTests:
    """What the tests found; tables are empty where there are no labels.

    Attributes
    ----------
    overall_auc : float
        Area under the ROC curve of all judged candidates.
    by_snr : astropy.table.Table
        From `gmadet_nb.learning.shortcuts.auc_at_fixed_snr`.
    correlation : dict
        From `gmadet_nb.learning.shortcuts.score_against_brightness`.
    changed : astropy.table.Table
        From `gmadet_nb.learning.changed.score_changed`, of real test candidates, by
        the networks alone: the numbers of a changed candidate are not known. Empty
        where the trees alone count.
    kept : dict
        "as_is", "blank", "shifted": the share of ``changed`` at or above the threshold.
    higher : dict
        From `gmadet_nb.learning.changed.higher_as_is`, of ``changed``.
    halves : astropy.table.Table
        From `gmadet_nb.learning.other_half.judge_other_half`, of the trees alone,
        which train in moments.
    coverage : float
        From `gmadet_nb.learning.shortcuts.snr_coverage`.
    """

    overall_auc: float
    by_snr: Table
    correlation: dict
    changed: Table
    kept: dict
    higher: dict
    halves: Table
    coverage: float

    @property
    def untested(self):
        """Names of the tests that have no finite result: list of str."""
        results = {
            "real and bogus at one S/N": self.by_snr["auc"],
            "score of bogus against S/N": self.correlation["bogus"],
            "real ones with a blanked difference": self.kept["blank"],
            "real ones shifted": self.kept["shifted"],
            "the other half of the S/N range": self.halves["other"],
            "S/N of the candidates": self.coverage,
        }
        return [
            name
            for name, values in results.items()
            if not np.isfinite(np.asarray(values, float)).any()
        ]

    @property
    def words(self):
        """What to warn of: list of str."""
        words = shortcuts.warnings(
            overall_auc=self.overall_auc,
            by_snr=self.by_snr,
            correlation=self.correlation,
            kept=self.kept,
            higher=self.higher,
            coverage=self.coverage,
        )
        return words + warn_of_halves(self.halves)

    @property
    def said(self):
        """The numbers in words, those that are not known left out: list of str."""
        names = {"as_is": "as they are", "blank": "blanked", "shifted": "off center"}
        covered = {"within the S/N of the real ones": self.coverage}
        kept = {text: self.kept[name] for name, text in names.items()}
        lines = {
            "Rank correlation of score and S/N": (self.correlation, "{:.2f}"),
            "Real test candidates kept": (kept, "{:.1%}"),
            "Candidates": (covered, "{:.1%}"),
        }
        found = []
        for about, (values, form) in lines.items():
            known = {k: v for k, v in values.items() if np.isfinite(v)}
            some = [f"{form.format(v)} {name}" for name, v in known.items()]
            found += [f"{about}: {', '.join(some)}."] if some else []
        tests = ", ".join(self.untested) or "none of these tests"
        return [*found, f"Not tested: {tests}."]


def find_shortcuts(judged, ranked, real, *, scorer, store, target_fpr, seed):
    """Do all shortcut tests.

    Parameters
    ----------
    judged : astropy.table.Table
        From `gmadet_nb.learning.check_rates.judged_rows`.
    ranked : astropy.table.Table
        All candidates that are scored: ``snr``.
    real : astropy.table.Table
        From `gmadet_nb.learning.check_populations.read_real`.
    scorer : gmadet_nb.learning.scorer.Scorer
    store : gmadet_nb.learning.cutouts.CutoutStore
    target_fpr : float
        False-positive rate that the threshold was chosen for.
    seed : int
        Of the cutouts that are changed, and of the trees.

    Returns
    -------
    ShortcutTests
    """
    is_real = np.asarray(judged["label"] == "real")
    scores, snr = np.asarray(judged["score"], float), as_floats(judged["snr"])
    # All networks together have seen every candidate but those of the test part.
    test = judged[is_real & np.asarray(judged["part"] == "test")]
    ids = np.random.default_rng(seed).permutation(test["candidate_id"])[:N_CHANGED]
    changed = _changed(scorer, store, np.sort(ids))
    kept = {
        name: float(np.mean(changed[name] >= scorer.threshold))
        if len(changed)
        else np.nan
        for name in changed.colnames
    }
    return ShortcutTests(
        overall_auc=evaluate.auc(is_real, scores),
        by_snr=shortcuts.auc_at_fixed_snr(is_real, scores, snr),
        correlation=shortcuts.score_against_brightness(is_real, scores, snr),
        changed=changed,
        kept=kept,
        higher=higher_as_is(changed),
        halves=_halves(judged, is_real, snr, target_fpr=target_fpr, seed=seed),
        coverage=shortcuts.snr_coverage(
            np.ones(len(real), bool), as_floats(real["snr"]), wanted=ranked["snr"]
        ),
    )


def networks_count(scorer):
    """Say whether the score hangs on the networks; where trees count alone, not."""
    return scorer.fusion.use != TREE_JUDGE


def network_score(scorer, pixels):
    """Return what the networks say alone, whatever the candidates' numbers.

    Parameters
    ----------
    scorer : gmadet_nb.learning.scorer.Scorer
    pixels : (n, size, size, 3) array
        Science, reference, difference [adu].

    Returns
    -------
    (n,) float array
        Calibrated P(real).
    """
    calibration = scorer.fusion.calibrations[scorer.fusion.judges.index(NETWORK)]
    logits = network_logits(scorer.predict(np.asarray(pixels, np.float32)))
    return probability(calibration.apply(logits).mean(axis=1))


def _changed(scorer, store, ids):
    """Score the cutouts as they are, blanked and shifted, by the networks alone."""
    if not len(ids) or not networks_count(scorer):
        return Table(names=("as_is", "blank", "shifted"), dtype=(float,) * 3)

    def predict(pixels):
        return network_score(scorer, pixels)

    return score_changed(predict, store.read(ids))


def _halves(judged, is_real, snr, *, target_fpr, seed):
    """Train trees on one half of the S/N range, by exposures, and judge the other."""
    exposures = np.unique(
        np.asarray(judged["exposure_id"]).astype(str), return_inverse=True
    )
    groups = exposures[1] % _N_GROUPS
    has_numbers = all(name in judged.colnames for name in COLUMNS)
    if not has_numbers or len(exposures[0]) < 2:
        is_real = np.zeros(len(judged), bool)  # nothing can be trained
    features = candidate_features(judged) if has_numbers else None

    def fit(rows):
        model = fit_trees(features[rows], is_real[rows], seed=seed)
        return lambda out: probability(tree_logits(model, features[out]))

    return judge_other_half(fit, is_real, snr, groups, target_fpr=target_fpr)
