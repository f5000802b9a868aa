import json

import numpy as np
import pytest

from gmadet_nb.errors import BadInputError
from gmadet_nb.learning import calibration_error, evaluate, fusion
from gmadet_nb.learning.calibration import probability

JUDGES = ["network", "trees"]


def draw(rng, *, n=6000, noise=(1.0, 1.0)):
    """Draw labels, and the logits of two judges with errors of their own."""
    real = rng.random(n) < 0.4
    evidence = [
        np.where(real, 2.0, -2.0) / s**2 + rng.normal(0, 2 / s, n) for s in noise
    ]
    return np.stack([3 * evidence[0] + 1, evidence[1]], axis=1), real, np.arange(n) % 5


def loss(real, logits):
    return np.mean(np.logaddexp(0, logits) - real * logits)


def test_two_judges_with_errors_of_their_own_are_averaged(rng):
    logits, real, groups = draw(rng)
    found = fusion.choose_fusion(logits, real, groups, judges=JUDGES)
    assert found.use == "mean"

    new, truth, _ = draw(rng)
    together, single = found.apply(new), found.apply_single(new)
    assert loss(truth, together) < 0.9 * min(loss(truth, s) for s in single.T)
    # 10 bins of 600, most of them almost empty: 0.02 at most by chance.
    error = calibration_error.expected_calibration_error(truth, probability(together))
    assert error < 0.02


@pytest.mark.parametrize("good", [0, 1])
def test_a_judge_that_only_adds_noise_to_the_other_is_left_out(rng, good):
    logits, real, groups = draw(rng)
    logits[:, 1 - good] = logits[:, good] + rng.normal(0, 6, len(real))
    found = fusion.choose_fusion(logits, real, groups, judges=JUDGES)

    assert found.use == JUDGES[good]
    assert found.losses[found.use] == min(found.losses.values())
    # The calibration keeps the order, so that nothing is lost of the better one.
    assert evaluate.auc(real, found.apply(logits)) == pytest.approx(
        evaluate.auc(real, logits[:, good]), abs=1e-9
    )


def test_the_mean_wins_a_draw(rng):
    logits, real, groups = draw(rng)
    twice = np.stack([logits[:, 0], logits[:, 0]], axis=1)
    found = fusion.choose_fusion(twice, real, groups, judges=JUDGES)
    assert found.use == "mean"


def test_one_judge_alone_is_calibrated(rng):
    logits, real, groups = draw(rng)
    found = fusion.choose_fusion(logits[:, :1], real, groups, judges=["trees"])
    assert found.use == "trees"
    assert list(found.losses) == ["trees"]


def test_a_judge_that_counts_and_is_missing_leaves_no_score(rng):
    logits, real, groups = draw(rng)
    logits[0, 1] = np.nan
    found = fusion.choose_fusion(logits, real, groups, judges=JUDGES)
    assert np.flatnonzero(np.isnan(found.apply(logits))).tolist() == [0]


def test_a_fusion_survives_a_model_card(rng):
    logits, real, groups = draw(rng, n=500)
    found = fusion.choose_fusion(logits, real, groups, judges=JUDGES)
    again = fusion.Fusion.from_dict(json.loads(json.dumps(found.as_dict())))
    np.testing.assert_array_equal(again.apply(logits), found.apply(logits))


def test_a_card_without_its_parts_is_refused(rng):
    logits, real, groups = draw(rng, n=500)
    values = fusion.choose_fusion(logits, real, groups, judges=JUDGES).as_dict()
    with pytest.raises(BadInputError, match="no whole fusion"):
        fusion.Fusion.from_dict({k: v for k, v in values.items() if k != "last"})
    with pytest.raises(BadInputError, match="no whole fusion"):
        fusion.Fusion.from_dict(values | {"more": 1})


def test_logits_of_other_judges_are_refused(rng):
    logits, real, groups = draw(rng, n=500)
    found = fusion.choose_fusion(logits, real, groups, judges=JUDGES)
    with pytest.raises(BadInputError, match=r"\(n, 2\), one column for each of net"):
        found.apply(logits[:, :1])
