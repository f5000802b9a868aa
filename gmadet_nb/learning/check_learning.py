"""The learning curve of 08_train: would more candidates help, and of which kind."""

import numpy as np

from gmadet_nb.errors import BadParameterError
from gmadet_nb.files.tables import rows_of
from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.features import COLUMNS, candidate_features
from gmadet_nb.learning.folds import read_folds
from gmadet_nb.learning.fused import fit_one_network
from gmadet_nb.learning.learning_curve import learning_curve, recommend
from gmadet_nb.learning.trees import fit_trees, tree_logits
from gmadet_nb.learning.weights import row_weights

CHOICES = ("none", "trees", "network")
_N_DRAWS = 3  # of the trees, which train in moments
# Of the network: its validation part takes some of them.
_MIN_EACH = 30


def measure_learning(split, store, candidates, training, *, of, target_fpr, rng):
    """Train on more and more of the folded candidates, and judge all of the test part.

    Parameters
    ----------
    split, candidates : astropy.table.Table
        As in the run folder.
    store : gmadet_nb.learning.cutouts.CutoutStore
    training : gmadet_nb.learning.train.Training
        How the network trains.
    of : {"none", "trees", "network"}
        What is trained, 10 times or more; "none" measures nothing.
    target_fpr : float
        False-positive rate at which the true-positive rate is read.
    rng : numpy.random.Generator
        Draws the candidates.

    Returns
    -------
    curve : astropy.table.Table
        From `gmadet_nb.learning.learning_curve.learning_curve`; empty where nothing
        was measured.
    words : list of str
        What more candidates would gain.
    """
    if of not in CHOICES:
        raise BadParameterError(
            f"learning_curve_of must be one of {', '.join(CHOICES)}, got {of!r}."
        )
    rows = read_folds(split).rows
    test = split[np.asarray(split["used"], bool) & np.asarray(split["part"] == "test")]
    what = _why_not(of, test, candidates)
    if what:
        return learning_curve(None, rows[:0], test, target_fpr=target_fpr, rng=rng), [
            what
        ]
    if of == "trees":
        fit, settings = _trees(candidates, training.seed), {"n_draws": _N_DRAWS}
    else:
        fit, settings = _network(store, training), {"min_each": _MIN_EACH}
    curve = learning_curve(fit, rows, test, target_fpr=target_fpr, rng=rng, **settings)
    n_bogus = int(np.sum(test["label"] == "bogus"))
    words = recommend(curve)
    if n_bogus < 1 / target_fpr:
        words.append(
            f"The test part has {n_bogus} bogus: at a rate of {target_fpr:.1%} not one "
            "of them may pass, and one of them decides each step. Do not build on it."
        )
    return curve, words


def as_dict(curve, words, *, of):
    """Return a learning curve and its words as a model card holds them."""
    return {"of": of, "steps": [dict(row) for row in curve], "words": words}


def _why_not(of, test, candidates):
    """Say why there is no curve; "" where there can be one."""
    if of == "none":
        return "No learning curve was asked for."
    kinds = set(np.asarray(test["label"]).astype(str))
    if not {"real", "bogus"} <= kinds:
        return "No learning curve: the test part has not both real and bogus."
    if of == "trees" and not all(name in candidates.colnames for name in COLUMNS):
        return (
            "No learning curve of trees: the candidates have no numbers. Set "
            "learning_curve_of to network."
        )
    return ""


def _trees(candidates, seed):
    """Return a function that trains trees on rows."""
    features = candidate_features(candidates)

    def of_rows(rows):
        return features[rows_of(rows["candidate_id"], candidates["candidate_id"])]

    def fit(rows):
        real = np.asarray(rows["label"] == "real")
        model = fit_trees(of_rows(rows), real, seed=seed, weights=row_weights(rows))
        return lambda test: probability(tree_logits(model, of_rows(test)))

    return fit


def _network(store, training):
    """Return a function that trains one network on rows."""

    def fit(rows):
        judge = fit_one_network(rows, store, training)
        return lambda test: probability(judge(test))

    return fit
