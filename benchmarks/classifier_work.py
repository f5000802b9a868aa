"""What one classifier reaches on one split of one set."""

import time

import numpy as np

from benchmarks.classifier_sets import sky_s_own
from benchmarks.published import RECIPES, train_published
from gmadet_nb.learning import (
    dataset,
    evaluate,
    labels,
    leaks,
    places,
    splitting,
    train,
    trees,
)
from gmadet_nb.learning.calibration import (
    fit_temperature,
    logit,
    probability,
)
from gmadet_nb.learning.calibration_error import (
    expected_calibration_error,
    with_interval,
)
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.features import FEATURES, candidate_features

CUTS = {
    "S/N cut": lambda row: row["snr"],
    "FWHM ratio cut": lambda row: -np.abs(np.log(row["fwhm_ratio"])),
    "PSF chi2 cut": lambda row: -row["psf_chi2"],
}
NETWORKS = ("small", "gmadet", "otrain", "vgg6")
METHODS = (
    *CUTS,
    "trees",
    "small",
    "fused",
    *(f"{name} as published" for name in RECIPES),
)
EPOCHS = 40


class Work:
    """The split of a set, and what is trained on it.

    Parameters
    ----------
    name : str
        Of the set.
    run : RunDir
        With 01 to 04 done.
    seed : int
        Of the split and the training.
    target_fpr : float
    """

    def __init__(self, name, run, *, seed, target_fpr):
        self.store, self.seed, self.target_fpr = (
            CutoutStore(run.cutouts_path),
            seed,
            target_fpr,
        )
        candidates = run.read_table("candidates")
        labelled = dataset.gather_labels(
            run.read_table("crossmatch"), labels.read_labels(run.labels_dir)
        )
        own = candidates["candidate_id"][sky_s_own(name, candidates)]
        injected = labelled["label_origin"] == "injected"
        labelled = labelled[injected | ~np.isin(labelled["candidate_id"], own)]
        split = splitting.split_by_exposure(
            labelled,
            candidates,
            calibration_fraction=0.2,
            test_fraction=0.25,
            validation_fraction=0.1,
            bogus_fraction=0.0,
            margin=self.store.size,
            pixel_scale=places.typical_pixel_scale(run.read_table("exposures")),
            rng=np.random.default_rng([seed, 0]),
        )
        leaks.check_leaks(split, candidates, margin=self.store.size)
        self.rows = split[np.asarray(split["used"], bool)]
        at = {str(key): i for i, key in enumerate(candidates["candidate_id"])}
        known = candidates[[at[str(key)] for key in self.rows["candidate_id"]]]
        self.features = candidate_features(known)
        self.snr = np.asarray(known["snr"], float)
        self.real = np.asarray(self.rows["label"] == "real")
        self.logits = {}

    def part(self, *names):
        """Return which rows are in some parts: (n,) bool array."""
        return np.isin(self.rows["part"], names)

    def measure(self, method):
        """Train a method and return its figures on the test part."""
        start = time.perf_counter()
        logits = self.judge(method)
        seconds = time.perf_counter() - start
        clean = ~np.asarray(self.rows["place_in_training"], bool)
        calibration = self.part("calibration") & clean
        if calibration.sum() < 1 / self.target_fpr:
            calibration = self.part("calibration")
        test = self.part("test") & clean
        threshold = evaluate.choose_threshold(
            logits[calibration & ~self.real], self.target_fpr
        ).value
        kept = logits >= threshold
        snr = self.snr
        found = {"seconds": {"value": seconds}}
        for name, some in (
            ("tpr_bright", test & self.real & (snr > 10)),
            ("tpr_faint", test & self.real & (snr > 5) & (snr <= 10)),
            ("tpr", test & self.real),
            ("fpr", test & ~self.real),
        ):
            found[name] = rate(int(kept[some].sum()), int(some.sum()))
        found["auc"] = {"value": evaluate.auc(self.real[test], logits[test])}
        found["ece"] = self._calibration_error(logits, calibration, test)
        return found

    def _calibration_error(self, logits, calibration, test):
        """Return the error of a temperature fitted on the calibration part."""
        fit = fit_temperature(logits[calibration], self.real[calibration])
        scores = probability(fit.apply(logits[test]))
        rng = np.random.default_rng(self.seed)
        return with_interval(
            expected_calibration_error, self.real[test], scores, rng=rng, n_draws=200
        )

    def judge(self, method):
        """Return the logit, or what orders alike, of every row: (n,) array."""
        if method not in self.logits:
            self.logits[method] = self._judge(method)
        return self.logits[method]

    def _judge(self, method):
        if method in CUTS:
            row = dict(zip(FEATURES, self.features.T.astype(float), strict=True))
            values = CUTS[method](row)
            return np.where(np.isfinite(values), values, np.nanmin(values))
        learn = self.part("training", "validation")
        if method == "trees":
            model = trees.fit_trees(
                self.features[learn], self.real[learn], seed=self.seed
            )
            return trees.tree_logits(model, self.features)
        if method == "fused":
            return self._fuse()
        if method in NETWORKS:
            return self._network(method)
        name = method.split()[0]
        score = train_published(name, self.rows[learn], self.store, seed=self.seed)
        return logit(score(self.rows))

    def _network(self, name):
        training = train.Training(
            network=name,
            epochs=EPOCHS,
            batch_size=32,
            dropout=0.3,
            patience=10,
            seed=self.seed,
        )
        model, _ = train.train_network(self.rows, self.store, training)
        scores = [
            np.asarray(model(self.store.read(ids), training=False))[:, 0]
            for ids in np.array_split(
                self.rows["candidate_id"], 1 + len(self.rows) // 512
            )
        ]
        return logit(np.concatenate(scores))

    def _fuse(self):
        """Return the mean of the calibrated logits of the trees and the network."""
        part = self.part("calibration")
        total = 0
        for name in ("trees", "small"):
            values = self.judge(name)
            fit = fit_temperature(values[part], self.real[part])
            total = total + fit.apply(values)
        return total / 2
