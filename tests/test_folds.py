from functools import partial

import numpy as np
import pytest
from astropy.table import Table
from toy_candidates import make_measured
from toy_cutouts import fold_toy, make_candidates, split_toy

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning import check_ranking, crossfit, dataset, folds, trees
from gmadet_nb.learning.calibration import probability
from gmadet_nb.learning.features import candidate_features
from gmadet_nb.learning.places import sky_places

MARGIN = 32


make_split = partial(split_toy, margin=MARGIN)
fold = partial(fold_toy, margin=MARGIN, n_folds=3)


@pytest.fixture
def nights(rng):
    candidates = make_candidates(10, 60, rng=rng)
    split = make_split(candidates)
    return fold(split, candidates), split, candidates


def test_no_exposure_is_in_two_folds(nights):
    found, _, _ = nights
    pairs = set(zip(found.rows["exposure_id"], found.rows["fold"], strict=True))
    assert len(pairs) == len(set(found.rows["exposure_id"]))
    assert set(found.rows["fold"]) == {0, 1, 2}


def test_all_but_the_test_part_is_folded(nights):
    found, split, _ = nights
    inside = np.asarray(split["used"]) & np.asarray(split["part"] != "test")
    assert list(found.rows["candidate_id"]) == list(split["candidate_id"][inside])
    assert not set(found.rows["exposure_id"]) & set(
        split["exposure_id"][split["part"] == "test"]
    )


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_balanced_in_real_and_in_bogus(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(12), rng.integers(10, 100, 12))
    real = rng.random(len(groups)) < rng.uniform(0.1, 0.9, 12)[groups]
    found = folds.assign_folds(groups, real, n_folds=3, rng=rng)

    for kind in (real, ~real):
        share = np.bincount(found[kind], minlength=3) / kind.sum()
        # Whole groups of 12 cannot be parted evenly; by chance it is 0.1 to 0.2.
        assert np.abs(share - 1 / 3).max() < 0.08


def test_as_many_folds_as_groups_leave_none_empty(rng):
    groups = np.repeat(np.arange(4), [5, 50, 500, 5])
    found = folds.assign_folds(groups, groups % 2 == 0, n_folds=4, rng=rng)
    assert set(found) == {0, 1, 2, 3}


def test_fewer_exposures_than_folds_are_a_fold_each(rng):
    candidates = make_candidates(4, 40, rng=rng)
    found = fold(make_split(candidates), candidates, n_folds=5)
    assert found.n_folds == len(set(found.rows["exposure_id"])) < 5
    assert "not 5: one for each exposure" in found.note


@pytest.mark.parametrize("n_exposures", [1, 2])
def test_too_few_exposures_give_bands_whose_cutouts_share_no_pixel(rng, n_exposures):
    candidates = make_candidates(n_exposures, 400, rng=rng)
    found = fold(make_split(candidates), candidates)

    assert "bands of the sky" in found.note
    row = {key: i for i, key in enumerate(candidates["candidate_id"])}
    table = candidates[[row[key] for key in found.rows["candidate_id"]]]
    sky = sky_places(table, pixel_scale=1.0)
    for k in range(3):
        out, others = sky[found.held_out(k)], sky[found.trained_on(k)]
        assert len(out) > 50
        assert len(others) > 50
        apart = np.abs(out[:, None] - others[None]).max(axis=2)
        assert apart.min() > MARGIN


def test_places_that_another_fold_has_are_marked(nights):
    found, _, _ = nights
    # A third of each exposure's places come again, on the detector, within 0.8 px.
    number = np.array([int(key[-5:]) for key in found.rows["candidate_id"]])
    seen = np.asarray(found.rows["place_in_training"])
    assert seen[number < 20].all()
    # By chance: 480 others over 1000 x 1200 pixels, within 3 of them: 1 %, twice.
    assert seen[number >= 20].mean() < 0.05


def test_candidates_without_a_place_on_the_sky_count_as_seen(rng):
    candidates = make_candidates(6, 40, rng=rng)
    split = make_split(candidates)
    candidates["ra"] = np.nan
    assert fold(split, candidates).rows["place_in_training"].all()


def test_folds_survive_the_split_table(nights):
    found, split, _ = nights
    written = folds.add_folds(split, found)
    again = folds.read_folds(written[::-1])

    assert again.n_folds == found.n_folds
    order = np.argsort(again.rows["candidate_id"])
    mine = found.rows[np.argsort(found.rows["candidate_id"])]
    for name in ("fold", "border", "place_in_training", "part"):
        assert (again.rows[name][order] == mine[name]).all()
    test = np.asarray(written["part"] == "test")
    assert (written["fold"][test] == -1).all()
    assert (written["place_in_training"] == split["place_in_training"])[test].all()
    assert list(written["candidate_id"]) == list(split["candidate_id"])


def test_folds_are_counted(nights):
    found, _, _ = nights
    counts = folds.count_folds(found)
    assert counts["n_real"].sum() + counts["n_bogus"].sum() == len(found.rows)
    assert counts["n_exposures"].sum() == len(set(found.rows["exposure_id"]))


def test_a_split_without_folds_is_refused(nights):
    found, split, _ = nights
    with pytest.raises(BadInputError, match="have folds and has none"):
        folds.read_folds(split)
    written = folds.add_folds(split, found)
    with pytest.raises(BadInputError, match="2 folds or more, got 1"):
        folds.read_folds(written[written["fold"] == 0])


def test_out_of_fold_scores_take_the_place_of_the_others():
    scores = Table({"candidate_id": ["a", "b", "c"], "score": [0.1, 0.2, 0.3]})
    scores["trees_score"] = [0.4, 0.5, 0.6]
    known = Table({"candidate_id": ["c", "a"], "score": [0.9, 0.7]})
    known["trees_score"] = [0.8, 0.3]
    found = crossfit.with_out_of_fold(scores, known)
    assert list(found["trees_score"]) == [0.3, 0.5, 0.8]
    assert list(found["score"]) == [0.7, 0.2, 0.9]
    assert list(found["out_of_fold"]) == [True, False, True]
    assert list(scores["score"]) == [0.1, 0.2, 0.3]


def test_the_same_seed_gives_the_same_folds(nights):
    found, split, candidates = nights
    assert (fold(split, candidates).rows == found.rows).all()


def test_a_class_that_one_exposure_has_alone_is_said_with_its_name(nights):
    _, split, candidates = nights
    only = split["exposure_id"][split["part"] != "test"][0]
    split["label"] = np.where(split["exposure_id"] == only, "real", "bogus")
    folded = fold(split, candidates)
    words = f"10 real .* does not see .*{only}.* has 0"
    with pytest.raises(BadInputError, match=words):
        dataset.check_folds(folded)


def test_folds_that_all_have_both_classes_pass(nights):
    found, _, _ = nights
    assert dataset.check_folds(found, min_each=3) is None
    with pytest.raises(BadInputError, match="100000 real"):
        dataset.check_folds(found, min_each=100_000)


def test_a_class_that_is_missing_everywhere_is_said_to_be(nights):
    _, split, candidates = nights
    n = int((split["used"] & (split["part"] != "test")).sum())
    split["label"] = "real"
    words = (
        rf"there are {n} real and 0 bogus in all\. Label more bogus ones in 06_label"
    )
    with pytest.raises(BadInputError, match=words):
        dataset.check_folds(fold(split, candidates))
    keep = np.concatenate(
        [
            np.flatnonzero(split["part"] != "test")[:10],
            np.flatnonzero(split["part"] == "test"),
        ]
    )
    few = split[keep]
    few["label"][:10] = ["real", "bogus"] * 5
    few["exposure_id"][:10] = ["a", "b", "c", "d", "e"] * 2
    words = r"10 real and 10 bogus .* there are 5 real and 5 bogus in all"
    with pytest.raises(BadInputError, match=words):
        dataset.check_folds(fold(few, candidates))


def test_one_fold_and_no_candidates_are_refused(nights):
    _, split, candidates = nights
    with pytest.raises(BadParameterError, match="2 or more, got 1"):
        fold(split, candidates, n_folds=1)
    with pytest.raises(BadInputError, match="to train on, got none"):
        fold(split[split["part"] == "test"], candidates)


def test_every_candidate_is_judged_by_the_model_that_has_not_seen_it(nights):
    found, _, _ = nights
    trained = []

    def fit(rows, k):
        trained.append(set(rows["candidate_id"]))
        return lambda some: np.full(len(some), float(k))

    logits, models = crossfit.out_of_fold(found, fit)
    np.testing.assert_array_equal(logits, found.rows["fold"])
    assert len(models) == 3
    for key, k in found.rows["candidate_id", "fold"].iterrows():
        assert key not in trained[k]
        assert sum(key in names for names in trained) == 2


def test_the_threshold_keeps_the_wanted_share_of_bogus(nights, rng):
    found, _, _ = nights
    scores = rng.random(len(found.rows))
    bogus = scores[np.asarray(found.rows["label"] == "bogus")]
    threshold = crossfit.fold_threshold(found, scores, target_fpr=0.05)

    new = ~np.asarray(found.rows["place_in_training"])[found.rows["label"] == "bogus"]
    # 60 are needed to show 5 %.
    assert new.sum() > 60
    assert (bogus[new] >= threshold.value).sum() == int(0.05 * new.sum())
    assert "had not seen" in threshold.how
    assert threshold.low < 0.05 < threshold.high


def test_with_too_few_new_places_the_threshold_takes_all(nights, rng):
    found, _, _ = nights
    scores = rng.random(len(found.rows))
    threshold = crossfit.fold_threshold(found, scores, target_fpr=0.01)
    assert threshold.n_bogus == (found.rows["label"] == "bogus").sum()
    assert threshold.how.startswith("out-of-fold scores, all places")


def test_the_scatter_of_models_that_agree_is_zero(rng):
    one = rng.normal(size=50)
    mean, scatter = crossfit.mean_and_scatter(np.stack([one, one, one], axis=1))
    np.testing.assert_allclose(mean, one)
    np.testing.assert_allclose(scatter, 0, atol=1e-15)
    assert not crossfit.mean_and_scatter(one[:, None])[1].any()


def test_the_scatter_is_that_of_the_probabilities(rng):
    logits = rng.normal(0, 0.1, (2000, 4))
    # Near a logit of 0 a probability changes by a quarter of it.
    scatter = crossfit.mean_and_scatter(logits)[1]
    assert np.sqrt(np.mean(scatter**2)) == pytest.approx(0.025, rel=0.05)


def test_flipped_labels_are_the_most_doubted(rng):
    real = rng.random(2000) < 0.4
    measured = make_measured(real, rng=rng, n_exposures=10)
    measured["ra"], measured["dec"] = 150 + measured["x"] / 3600, measured["y"] / 3600
    flipped = rng.random(2000) < 0.05
    measured["auto_label"] = np.where(real != flipped, "real", "bogus")
    measured["auto_origin"] = "toy"
    found = fold(make_split(measured), measured, n_folds=5)
    features = candidate_features(measured)
    row = {key: i for i, key in enumerate(measured["candidate_id"])}

    def fit(rows, k):
        def matrix(some):
            return features[[row[key] for key in some["candidate_id"]]]

        model = trees.fit_trees(matrix(rows), rows["label"] == "real", seed=k)
        return lambda some: trees.tree_logits(model, matrix(some))

    found_scores = Table([found.rows["candidate_id"]], names=["candidate_id"])
    found_scores["score"] = probability(crossfit.out_of_fold(found, fit)[0])
    found.rows["used"] = True
    doubted = check_ranking.suspects(found.rows, found_scores)
    first = set(doubted["candidate_id"][: len(doubted) // 10])
    wrong = set(measured["candidate_id"][flipped]) & set(found.rows["candidate_id"])
    assert len(wrong) > 50
    assert len(wrong & first) >= 0.95 * len(wrong)
