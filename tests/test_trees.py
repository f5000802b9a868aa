import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from toy_candidates import make_measured

from gmadet_nb.errors import BadInputError, StageError
from gmadet_nb.learning import trees
from gmadet_nb.learning.evaluate import auc
from gmadet_nb.learning.features import FEATURES, candidate_features


def make_set(n, *, seed, holes=0.1):
    rng = np.random.default_rng(seed)
    real = rng.random(n) < 0.4
    features = candidate_features(make_measured(real, rng=rng))
    features[rng.random(features.shape) < holes] = np.nan
    return features, real


@pytest.fixture(scope="module")
def fitted():
    features, real = make_set(600, seed=1)
    return [trees.fit_trees(features, real, seed=0)], features, real


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    models, features, _ = fitted
    path = tmp_path_factory.mktemp("trees") / "trees.onnx"
    difference = trees.save_trees(path, models, features)
    return path, difference


def test_new_candidates_are_told_apart(fitted):
    features, real = make_set(600, seed=2)
    assert auc(real, trees.tree_logits(fitted[0][0], features)) > 0.95


def test_the_file_gives_the_same_for_candidates_it_was_not_checked_on(fitted, saved):
    features, _ = make_set(5000, seed=3, holes=0.3)
    logits = trees.Trees(saved[0]).logits(features)

    assert saved[1] <= 1e-5
    assert logits.shape == (5000, 1)
    # float32 sums of 200 leaves below 1: 200 x 2**-24 of a logit below 20.
    np.testing.assert_allclose(
        logits[:, 0], trees.tree_logits(fitted[0][0], features), atol=2e-4
    )


def test_a_candidate_of_which_nothing_is_known_gets_the_same_score(fitted, saved):
    nothing = np.full((1, len(FEATURES)), np.nan, np.float32)
    np.testing.assert_allclose(
        trees.Trees(saved[0]).logits(nothing)[0],
        trees.tree_logits(fitted[0][0], nothing),
        atol=2e-4,
    )


def test_a_value_next_to_a_threshold_stays_on_its_side(tmp_path):
    # Neighbors in float32: a threshold between two of them is rounded to one.
    rng = np.random.default_rng(4)
    features = np.zeros((400, len(FEATURES)), np.float32)
    features[:, 0] = 1 + np.float32(2**-23) * np.arange(400)
    real = (np.arange(400) // 7) % 2 == 0
    model = trees.fit_trees(features, real, seed=0)
    trees.save_trees(tmp_path / "trees.onnx", [model], features)

    order = rng.permutation(400)
    np.testing.assert_allclose(
        trees.Trees(tmp_path / "trees.onnx").logits(features[order])[:, 0],
        trees.tree_logits(model, features[order]),
        atol=2e-4,
    )


def test_several_sets_share_one_file_and_keep_their_order(fitted, tmp_path):
    models, features, real = fitted
    other = trees.fit_trees(features[:300], real[:300], seed=0)
    trees.save_trees(tmp_path / "trees.onnx", [*models, other], features)
    found = trees.Trees(tmp_path / "trees.onnx")

    assert found.n_models == 2
    for k, model in enumerate([*models, other]):
        np.testing.assert_allclose(
            found.logits(features)[:, k],
            trees.tree_logits(model, features),
            atol=2e-4,
        )


def test_the_same_seed_gives_the_same_trees(fitted):
    models, features, real = fitted
    again = trees.fit_trees(features, real, seed=0)
    np.testing.assert_array_equal(
        trees.tree_logits(again, features), trees.tree_logits(models[0], features)
    )


def test_twenty_candidates_are_enough_to_learn_something():
    features, real = make_set(20, seed=5, holes=0)
    logits = trees.tree_logits(trees.fit_trees(features, real, seed=0), features)
    assert len(np.unique(logits)) > 1


def test_a_number_that_is_never_there_tells_nothing():
    features, real = make_set(200, seed=5)
    features[:, 3] = np.nan
    model = trees.fit_trees(features, real, seed=0)
    logits = trees.tree_logits(model, features)
    assert auc(real, logits) > 0.95
    features[:, 3] = 7
    np.testing.assert_array_equal(trees.tree_logits(model, features), logits)


@pytest.mark.parametrize("kind", [True, False])
def test_one_class_alone_is_refused(kind):
    features, _ = make_set(30, seed=6)
    with pytest.raises(BadInputError, match="need real and bogus candidates"):
        trees.fit_trees(features, np.full(30, kind), seed=0)


def test_a_matrix_of_other_columns_is_refused(saved):
    with pytest.raises(BadInputError, match=rf"shape \(n, {len(FEATURES)}\)"):
        trees.Trees(saved[0]).logits(np.zeros((3, 4), np.float32))


def test_no_candidate_gives_no_logit(saved):
    empty = np.empty((0, len(FEATURES)), np.float32)
    assert trees.Trees(saved[0]).logits(empty).shape == (0, 1)


def test_trees_on_other_features_are_refused(saved, tmp_path):
    model = onnx.load(saved[0])
    names = [*FEATURES][::-1]
    onnx.helper.set_model_props(model, {"features": json.dumps(names)})
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(BadInputError, match="candidates have snr, psf_chi2"):
        trees.Trees(tmp_path / "other.onnx")


def test_trees_without_names_of_features_are_refused(saved, tmp_path):
    model = onnx.load(saved[0])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "nameless.onnx")
    with pytest.raises(BadInputError, match="names of their features"):
        trees.Trees(tmp_path / "nameless.onnx")


def test_a_missing_and_a_broken_file_are_named(saved, tmp_path):
    with pytest.raises(BadInputError, match=r"no trees at .*none\.onnx"):
        trees.Trees(tmp_path / "none.onnx")
    (tmp_path / "half.onnx").write_bytes(saved[0].read_bytes()[:1000])
    with pytest.raises(BadInputError, match=r"half\.onnx' cannot be loaded"):
        trees.Trees(tmp_path / "half.onnx")


def test_a_file_that_differs_from_the_fitted_trees_is_refused(
    fitted, tmp_path, monkeypatch
):
    models, features, _ = fitted
    monkeypatch.setattr(trees, "_round_down", lambda values: values + 0.1)
    with pytest.raises(StageError, match="they differ by"):
        trees.save_trees(tmp_path / "trees.onnx", models, features)


def test_scoring_needs_no_scikit_learn(saved):
    code = (
        "import sys\n"
        "from gmadet_nb.learning.trees import Trees\n"
        f"Trees({str(saved[0])!r})\n"
        "assert 'sklearn' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
