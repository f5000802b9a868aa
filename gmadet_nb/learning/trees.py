"""Gradient-boosted trees on the candidate's own numbers, kept as ONNX."""

import json
from pathlib import Path

import numpy as np

from gmadet_nb.errors import BadInputError, StageError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.features import FEATURES
from gmadet_nb.learning.onnx_session import open_session, run_session
from gmadet_nb.learning.weights import balance

ONNX_TOLERANCE = 1e-5
MIN_SAMPLES_LEAF = 20
# On the demo night and on tres1 half or twice of any of these changes nothing that
# could be measured; the penalty gains 0.003 in log loss.
SETTINGS = {
    "max_iter": 200,
    "learning_rate": 0.06,
    "max_leaf_nodes": 15,
    "l2_regularization": 5.0,
    "early_stopping": False,
}
_INPUT, _OUTPUT = "features", "logits"
_OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8


class Trees:
    """K sets of boosted trees read from a file.

    Attributes
    ----------
    features : list of str
        Names of the columns that they take, in order.
    n_models : int
        K.
    """

    def __init__(self, path):
        if not Path(path).is_file():
            raise BadInputError(f"There are no trees at '{path}'. Run 08_train.")
        self._session = open_session(path)
        found = self._session.get_modelmeta().custom_metadata_map
        if _INPUT not in found:
            raise BadInputError(
                f"'{path}' must be trees with the names of their features, and has "
                "none. Run 08_train again."
            )
        self.features = json.loads(found[_INPUT])
        if self.features != list(FEATURES):
            raise BadInputError(
                f"The trees of '{path}' take {', '.join(self.features)}; candidates "
                f"have {', '.join(FEATURES)}. Run 08_train again."
            )
        self.n_models = int(self._session.get_outputs()[0].shape[1])

    def logits(self, features):
        """Return log(P / (1 - P)) of being real, of each of the K.

        Parameters
        ----------
        features : (n, n_features) float32 array
            From `gmadet_nb.learning.features.candidate_features`.

        Returns
        -------
        (n, K) float32 array
        """
        _check_shape(features)
        if not len(features):
            return np.empty((0, self.n_models), np.float32)
        return run_session(self._session, np.asarray(features, np.float32))


def fit_trees(features, is_real, *, seed, weights=None):
    """Fit trees to the numbers of candidates whose label is known.

    Histogram boosting of binary cross-entropy, real and bogus weighted to count
    the same. What could not be measured (NaN) goes to the side of each branch
    where it fits best.

    Parameters
    ----------
    features : (n, n_features) float32 array
        From `gmadet_nb.learning.features.candidate_features`.
    is_real : (n,) bool array
        The labels.
    seed : int
        Of the bins, where there are more than 10,000 candidates.
    weights : (n,) array, optional
        How much each candidate counts in its class; all the same if not given.

    Returns
    -------
    sklearn.ensemble.HistGradientBoostingClassifier
        To be saved by `save_trees`.

    Raises
    ------
    BadInputError
        If a class is missing.
    """
    # Only training needs it: scoring reads the ONNX file.
    from sklearn.ensemble import HistGradientBoostingClassifier

    _check_shape(features)
    real = np.asarray(is_real, bool)
    if real.all() or not real.any():
        raise BadInputError(
            f"Trees need real and bogus candidates to train on, got {real.sum()} real "
            f"and {(~real).sum()} bogus. Label more in 06_label."
        )
    # A leaf of 20 of a few dozen candidates would leave nothing to tell apart.
    at_least = int(np.clip(len(real) // 20, 2, MIN_SAMPLES_LEAF))
    model = HistGradientBoostingClassifier(
        min_samples_leaf=at_least, random_state=seed, **SETTINGS
    )
    features = np.asarray(features, np.float32)
    # scikit-learn cannot bin a number that is never there; one value divides nothing.
    features = np.where(np.isnan(features).all(axis=0), np.float32(0), features)
    weights = balance(real, np.ones(len(real)) if weights is None else weights)
    with _one_thread():
        return model.fit(features, real, sample_weight=weights)


def tree_logits(model, features):
    """Return log(P / (1 - P)) of fitted trees that are not saved: (n,) array."""
    with _one_thread():
        return model.decision_function(np.asarray(features, np.float32))


def save_trees(path, models, features):
    """Save K fitted sets of trees in one ONNX file, read it back, and compare.

    Parameters
    ----------
    path : str or pathlib.Path
        The file.
    models : list
        From `fit_trees`.
    features : (n, n_features) float32 array
        Candidates on which the file must give the same as the models; each is
        tried as it is and with one of its numbers missing in turn.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    StageError
        If a probability differs by more than 1e-5.
    """
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(_to_onnx(models).SerializeToString())
    holes = np.array(features, np.float32)
    rows = np.arange(len(holes))
    holes[rows, rows % holes.shape[1]] = np.nan
    trial = np.concatenate([features, holes, np.full_like(holes[:1], np.nan)])
    by_onnx = probability(Trees(path).logits(trial))
    fitted = np.stack([tree_logits(model, trial) for model in models], axis=1)
    difference = float(np.abs(by_onnx - probability(fitted)).max())
    if not difference <= ONNX_TOLERANCE:
        raise StageError(
            f"The ONNX trees must give the probabilities of the fitted ones to "
            f"{ONNX_TOLERANCE}, they differ by {difference}. Install the versions of "
            "requirements.lock."
        )
    return difference


def _to_onnx(models):
    """Write K sets of trees as one ONNX graph of K outputs.

    By hand, as skl2onnx 1.20 cannot with the locked onnx, and rounds thresholds to
    the nearest float32: a value next to one then takes the other branch.
    """
    from onnx import TensorProto, checker, helper

    node = helper.make_node(
        "TreeEnsembleRegressor",
        [_INPUT],
        [_OUTPUT],
        domain="ai.onnx.ml",
        n_targets=len(models),
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=[float(m._baseline_prediction.ravel()[0]) for m in models],
        **_nodes(models),
    )
    graph = helper.make_graph(
        [node],
        "boosted_trees",
        [
            helper.make_tensor_value_info(
                _INPUT, TensorProto.FLOAT, ["n", len(FEATURES)]
            )
        ],
        [helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, ["n", len(models)])],
    )
    opsets = [helper.make_opsetid(*one) for one in _OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    helper.set_model_props(model, {_INPUT: json.dumps(list(FEATURES))})
    checker.check_model(model)
    return model


def _nodes(models):
    """Return the branches and leaves of all trees as attributes of an ONNX node."""
    trees = [(k, one[0].nodes) for k, m in enumerate(models) for one in m._predictors]
    sizes = [len(nodes) for _, nodes in trees]
    nodes = np.concatenate([nodes for _, nodes in trees])
    tree = np.repeat(np.arange(len(trees)), sizes)
    number = np.concatenate([np.arange(size) for size in sizes])
    model = np.repeat([k for k, _ in trees], sizes)
    leaf = nodes["is_leaf"].astype(bool)
    columns = {
        "nodes_treeids": tree,
        "nodes_nodeids": number,
        "nodes_featureids": nodes["feature_idx"],
        "nodes_values": _round_down(np.where(leaf, 0, nodes["num_threshold"])),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]),
        "nodes_missing_value_tracks_true": nodes["missing_go_to_left"].astype(int),
        "target_treeids": tree[leaf],
        "target_nodeids": number[leaf],
        "target_ids": model[leaf],
        "target_weights": nodes["value"][leaf],
    }
    # Plain Python numbers: protobuf takes no others.
    attributes = {name: values.tolist() for name, values in columns.items()}
    return attributes | {"nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()}


def _round_down(thresholds):
    """Return the largest float32 not above each: x <= t stays as it is for float32."""
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > thresholds, below, rounded)


def _one_thread():
    """Keep to one thread: on a busy machine more of them wait for each other."""
    from threadpoolctl import threadpool_limits  # scikit-learn's own

    return threadpool_limits(1, user_api="openmp")


def _check_shape(features):
    if np.ndim(features) != 2 or np.shape(features)[1] != len(FEATURES):
        raise BadInputError(
            f"Features must have the shape (n, {len(FEATURES)}), got "
            f"{np.shape(features)}. Take them from candidate_features."
        )
