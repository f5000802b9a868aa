import numpy as np
import pytest
from astropy.table import Table
from toy_candidates import make_measured

from gmadet_nb.learning import weights
from gmadet_nb.learning.features import candidate_features
from gmadet_nb.learning.trees import fit_trees, tree_logits


def test_classes_of_unequal_size_weigh_the_same():
    real = np.array([True] * 3 + [False] * 7)
    found = weights.balance(real, np.ones(10))
    assert found[real].sum() == pytest.approx(found[~real].sum())
    assert found.mean() == pytest.approx(1)


def test_one_class_alone_weighs_one_each():
    assert weights.balance(np.ones(4, bool), np.full(4, 7.0)) == pytest.approx(1)


def test_origins_weigh_as_asked_within_their_class_and_the_classes_the_same():
    rows = Table(
        {
            "label": ["real", "real", "bogus", "bogus", "bogus", "real"],
            "label_origin": ["injected", "human:ann", "human:bob"]
            + ["unmatched"] * 2
            + ["catalog"],
        }
    )
    rows = weights.weigh_origins(
        rows, human_weight=3.0, unmatched_weight=0.5, catalog_weight=0.25
    )
    real = np.asarray(rows["label"] == "real")
    found = weights.balance(real, weights.row_weights(rows))

    assert found[1] / found[0] == pytest.approx(3)
    assert found[2] / found[3] == pytest.approx(6)
    assert found[5] / found[0] == pytest.approx(0.25)
    assert found[real].sum() == pytest.approx(found[~real].sum())


def test_rows_of_an_earlier_split_all_count_the_same():
    assert (weights.row_weights(Table({"label": ["real", "bogus"]})) == 1).all()


def test_trees_believe_labels_of_more_weight():
    rng = np.random.default_rng(4)
    truth = rng.random(800) < 0.5
    features = candidate_features(make_measured(truth, rng=rng))
    # Two in five of the labels that nobody gave are wrong.
    by_person = np.arange(800) % 2 == 0
    wrong = ~by_person & (rng.random(800) < 0.4)
    labels = truth ^ wrong
    worth = np.where(by_person, 20.0, 1.0)
    new = rng.random(2000) < 0.5
    unseen = candidate_features(make_measured(new, rng=rng))

    def cross_entropy(model):
        return np.logaddexp(0, np.where(new, -1, 1) * tree_logits(model, unseen)).mean()

    same = fit_trees(features, labels, seed=1)
    weighed = fit_trees(features, labels, seed=1, weights=worth)
    assert cross_entropy(weighed) < 0.8 * cross_entropy(same)
