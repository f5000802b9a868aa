import numpy as np
import pytest

from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.curves import confusion, over_thresholds, purity


def test_every_threshold_counts_as_counting_by_hand_does():
    rng = np.random.default_rng(3)
    real = rng.random(200) < 0.3
    scores = np.round(np.clip(0.3 * real + rng.random(200) * 0.7, 0, 1), 2)
    scores[5] = np.nan
    curve = over_thresholds(real, scores)

    known = np.isfinite(scores)
    assert list(curve["threshold"]) == sorted(set(scores[known]), reverse=True)
    for row in curve:
        kept = scores[known] >= row["threshold"]
        (tp, fn), (fp, _) = confusion(real[known], kept)
        assert (row["n_real"], row["n_bogus"]) == (tp, fp)
        assert row["recall"] == pytest.approx(tp / (tp + fn))
        assert row["precision"] == pytest.approx(tp / (tp + fp))
        assert row["f1"] == pytest.approx(
            2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
        )
        # Matthews' coefficient is Pearson's of the two binary columns.
        if 0 < kept.sum() < len(kept):
            wanted = np.corrcoef(real[known], kept)[0, 1]
            assert row["mcc"] == pytest.approx(wanted)
    assert curve["mcc"][-1] == 0  # all are kept


def test_no_candidates_make_an_empty_curve():
    assert len(over_thresholds([], [])) == 0


def test_purity_is_that_of_the_stream_and_not_of_the_training_set():
    tpr, fpr = rate(90, 100), rate(10, 1000)
    found = purity(tpr, fpr, bogus_per_real=100)

    # 0.9 real ones and 100 x 0.01 bogus are kept of each real one that comes.
    assert found["value"] == pytest.approx(0.9 / 1.9)
    assert found["low"] < found["value"] < found["high"]
    # With none of the bogus kept the upper end is 1 and the lower one is not.
    clean = purity(tpr, rate(0, 1000), bogus_per_real=100)
    assert clean["value"] == clean["high"] == 1
    assert clean["low"] == pytest.approx(
        tpr["low"] / (tpr["low"] + 100 * rate(0, 1000)["high"])
    )
    assert np.isnan(purity(rate(0, 10), rate(0, 10), bogus_per_real=1)["value"])
    with pytest.raises(BadParameterError, match="above 0"):
        purity(tpr, fpr, bogus_per_real=0)
