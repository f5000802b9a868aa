"""Cross-fit networks and trees, calibrate them, and fuse them to one model."""

import logging
from dataclasses import dataclass

import numpy as np
from astropy.table import Table, vstack

from gmadet_nb.files.tables import rows_of
from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.crossfit import (
    fold_threshold,
    out_of_fold,
    with_out_of_fold,
)
from gmadet_nb.learning.features import COLUMNS, features_of
from gmadet_nb.learning.folds import Folds, read_folds
from gmadet_nb.learning.fusion import Fusion, choose_fusion
from gmadet_nb.learning.networks import join_networks, keras
from gmadet_nb.learning.scorer import NETWORK, TREE_JUDGE, network_logits
from gmadet_nb.learning.train import train_network
from gmadet_nb.learning.trees import fit_trees, tree_logits
from gmadet_nb.learning.weights import row_weights

logger = logging.getLogger(__name__)

SCORE_BATCH = 512
# Of a candidate to one of the run that an initial model is from. With 300 of one's own
# 3 to 10 gain 1% in TPR over 1 and over 30, from the demo to tres1.
OWN_WEIGHT = 5.0


@dataclass(frozen=True, kw_only=True)
class Fused:
    """K networks and K sets of trees, and what makes one score of them.

    Attributes
    ----------
    network : keras.Model
        Raw cutouts [adu] to the probabilities of the K networks.
    history : astropy.table.Table
        A row an epoch and fold.
    trees : list
        K sets of fitted trees; empty where the candidates have no numbers.
    features : (m, n_features) float32 array
        Numbers of the folded candidates, on which a saved copy is tried.
    logits : (m, n_judges) array
        Out of fold, one row a folded candidate.
    fusion : Fusion
        Fitted to ``logits``.
    folds : Folds
        Whom each of the K has not seen.
    notes : list of str
        Which folds were trained before a training was cut off, in words.
    initial : str
        Model folder that it was started from; "" where it was trained anew.
    """

    network: keras.Model
    history: Table
    trees: list
    features: np.ndarray
    logits: np.ndarray
    fusion: Fusion
    folds: Folds
    notes: list
    initial: str

    @property
    def scores(self):
        """Out-of-fold scores of the folded candidates, P(real): (m,) array."""
        return probability(self.fusion.apply(self.logits))

    def threshold(self, target_fpr):
        """Return what `gmadet_nb.learning.crossfit.fold_threshold` chooses."""
        return fold_threshold(self.folds, self.scores, target_fpr=target_fpr)

    def put_out_of_fold(self, scores):
        """Return scores where folded candidates have those of `out_of_fold_table`."""
        return with_out_of_fold(scores, out_of_fold_table(self))


def fit_fused(split, store, candidates, training, *, checkpoints=None, initial=None):
    """Train K networks and K sets of trees and learn how to fuse them.

    Each pair judges the fold that it has not seen. From these logits, of every
    candidate that trains or calibrates, come the calibration and the choice of what
    counts: the mean of both, or one alone.

    Parameters
    ----------
    split : astropy.table.Table
        With folds, from `gmadet_nb.learning.folds.add_folds`.
    store : gmadet_nb.learning.cutouts.CutoutStore
        Their cutouts.
    candidates : astropy.table.Table
        Their numbers. Where they have none, as stamps from elsewhere, the networks
        judge alone.
    training : gmadet_nb.learning.train.Training
        How.
    checkpoints : gmadet_nb.learning.checkpoints.Checkpoints, optional
        Keeps each network when it is trained; one that it has is not trained again.
    initial : gmadet_nb.learning.transfer.Initial, optional
        A model of another run: network k starts from its network k, beginning anew
        when they are used up, and all trees are fitted to its candidates, too.

    Returns
    -------
    Fused
    """
    folds = read_folds(split)
    real = np.asarray(folds.rows["label"] == "real")
    network, history, of_networks, notes = _fit_networks(
        folds, store, training, checkpoints, initial
    )
    judges, logits, trees = [NETWORK], [of_networks], []
    features = np.empty((0, 0), np.float32)
    if all(name in candidates.colnames for name in COLUMNS):
        features = features_of(folds.rows["candidate_id"], candidates)
        trees, of_trees = _fit_trees(
            folds, features, real, seed=training.seed, initial=initial
        )
        judges.append(TREE_JUDGE)
        logits.append(of_trees)
    else:
        logger.warning("The candidates have no numbers: the networks judge alone.")
    logits = np.stack(logits, axis=1)
    fold = np.asarray(folds.rows["fold"])
    return Fused(
        network=network,
        history=history,
        trees=trees,
        features=features,
        logits=logits,
        fusion=choose_fusion(logits, real, fold, judges=judges),
        folds=folds,
        notes=notes,
        initial=initial.folder if initial else "",
    )


def out_of_fold_table(fused):
    """Return what each folded candidate got from the models that had not seen it.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``fold``, ``score`` and, alone, ``network_score`` and
        ``trees_score``.
    """
    table = fused.folds.rows["candidate_id", "fold"]
    table["score"] = fused.scores
    single = probability(fused.fusion.apply_single(fused.logits))
    for name, scores in zip(fused.fusion.judges, single.T, strict=True):
        table[f"{name}_score"] = scores
    return table


def _fit_networks(folds, store, training, checkpoints, initial):
    """Return K networks as one, their history, logits out of fold, and notes."""
    models, histories, notes = [], [], []

    def fit(rows, k):
        found = checkpoints.load(k) if checkpoints else None
        if not np.any(rows["part"] == "validation"):
            notes.append(
                f"Network {k + 1} has no validation candidates: its best pass is that "
                "of the lowest training loss."
            )
        if found:
            notes.append(f"Fold {k + 1} of {folds.n_folds} was trained before.")
        else:
            start = initial.weights[k % len(initial.weights)] if initial else None
            found = train_network(_parts(rows), store, training, number=k, start=start)
            if checkpoints:
                checkpoints.save(k, *found)
        models.append(found[0])
        histories.append(found[1])
        return lambda some: _logits(found[0], store, some["candidate_id"])

    logits, _ = out_of_fold(folds, fit)
    return join_networks(models), vstack(histories), logits, notes


def _parts(rows):
    """Return the rows of a fold as a split: validation stays, all others train."""
    split = rows.copy()
    some = np.asarray(split["part"]) == "validation"
    split["part"] = np.where(some, "validation", "training")
    split["place_in_training"], split["used"] = False, True
    return split


def _logits(model, store, ids):
    """Return the logits of one network, batch by batch."""
    found = [
        np.asarray(model(store.read(ids[i : i + SCORE_BATCH]), training=False))[:, 0]
        for i in range(0, len(ids), SCORE_BATCH)
    ]
    return network_logits(np.concatenate(found))


def _fit_trees(folds, features, real, *, seed, initial):
    """Return K sets of trees and their logits out of fold."""
    models = []

    def of(rows):
        return rows_of(rows["candidate_id"], folds.rows["candidate_id"])

    def fit(rows, k):
        some = of(rows)
        known, labels, weights = features[some], real[some], row_weights(rows)
        if initial and len(initial.real):
            known = np.concatenate([known, initial.features])
            labels = np.concatenate([labels, initial.real])
            others = np.ones(len(initial.real))
            weights = np.concatenate([OWN_WEIGHT * weights, others])
        model = fit_trees(known, labels, seed=seed + k, weights=weights)
        models.append(model)
        return lambda out: tree_logits(model, features[of(out)])

    return models, out_of_fold(folds, fit)[0]


def fit_one_network(rows, store, training):
    """Train one network on some rows; those of the validation part say when to stop.

    Parameters
    ----------
    rows : astropy.table.Table
        Of a split.
    store, training
        As for `fit_fused`.

    Returns
    -------
    callable
        From rows to the logits of their candidates, (n,) array.
    """
    model, _ = train_network(_parts(rows), store, training)
    return lambda some: _logits(model, store, some["candidate_id"])
