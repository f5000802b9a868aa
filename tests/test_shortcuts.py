import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.learning import changed, evaluate, shortcuts

N = 4000


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def sky(rng):
    """Return labels and S/N: real ones are brighter, by a factor of two."""
    real = rng.random(N) < 0.5
    snr = np.exp(rng.normal(2.5 + np.log(2) * real, 0.6))
    return real, snr


def all_words(real, scores, snr, *, kept=(0.9, 0.0, 0.0), higher=1.0, coverage=1.0):
    return shortcuts.warnings(
        overall_auc=evaluate.auc(real, scores),
        by_snr=shortcuts.auc_at_fixed_snr(real, scores, snr),
        correlation=shortcuts.score_against_brightness(real, scores, snr),
        kept=dict(zip(("as_is", "blank", "shifted"), kept, strict=True)),
        higher={"blank": higher, "shifted": 1.0},
        coverage=coverage,
    )


def test_score_by_brightness_alone_is_found_out(sky):
    real, snr = sky
    scores = stats_rank(snr)
    overall = evaluate.auc(real, scores)
    assert overall > 0.75
    inside = shortcuts.auc_at_fixed_snr(real, scores, snr)["auc"]
    # Within an eighth of the candidates most of what brightness tells is gone.
    assert np.nanmean(inside) - 0.5 < 0.3 * (overall - 0.5)
    [first, second] = all_words(real, scores, snr)
    assert "Brightness carries" in first
    assert "Bright bogus" in second


def stats_rank(values):
    return np.argsort(np.argsort(values)) / len(values)


def test_score_by_shape_raises_no_warning(sky, rng):
    real, snr = sky
    scores = 1 / (1 + np.exp(-rng.normal(4.0 * (real - 0.5), 1)))

    assert all_words(real, scores, snr) == []
    found = shortcuts.score_against_brightness(real, scores, snr)
    # The error of a rank correlation without any is 1 / sqrt(n).
    assert abs(found["bogus"]) < 4 / np.sqrt(N / 2)


def test_candidates_beyond_the_training_are_said(sky):
    real, snr = sky
    covered = shortcuts.snr_coverage(real, snr, wanted=snr[real])
    assert covered == pytest.approx(0.98, abs=0.002)
    beyond = shortcuts.snr_coverage(real, snr, wanted=snr[real] / 8)
    assert beyond < 0.3
    assert "Only" in all_words(real, 1.0 * real, snr, coverage=beyond)[0]
    assert np.isnan(shortcuts.snr_coverage(np.zeros(N, bool), snr, wanted=snr))


def test_blank_and_shifted_cutouts_have_nothing_in_their_middle(rng):
    pixels = rng.normal(0, 5, (6, 21, 21, 3)).astype(np.float32)
    pixels[:, 9:12, 9:12, 2] += 500
    pixels[0, :5, :5] = np.nan
    before = pixels.copy()

    def middle(cutouts):
        return np.nanmean(cutouts[:, 9:12, 9:12, 2], axis=(1, 2))

    table = changed.score_changed(middle, pixels)
    np.testing.assert_array_equal(pixels, before)
    assert np.all(table["as_is"] > 490)
    # The mean of nine pixels of noise 5.
    for name in ("blank", "shifted"):
        assert np.all(np.abs(table[name]) < 5 * 5 / 3)

    around = changed.score_changed(lambda c: np.nanmean(c[..., 0], (1, 2)), pixels)
    assert np.allclose(around["blank"], around["as_is"])


def test_few_candidates_say_nothing():
    assert len(shortcuts.auc_at_fixed_snr([], [], [])) == 0
    few = shortcuts.score_against_brightness([True, False], [0.1, 0.2], [5, 6])
    assert np.isnan(few["real"])
    assert np.isnan(few["bogus"])
    table = shortcuts.auc_at_fixed_snr([True, False], [0.1, 0.2], [5, 6])
    assert np.isnan(table["auc"]).all()


def test_real_ones_that_stay_real_without_their_source_are_said(sky):
    real, snr = sky
    [blank] = all_words(real, 1.0 * real, snr, kept=(0.9, 0.3, 0.0))
    assert "30% of the real ones are kept when their difference is" in blank
    [shifted] = all_words(real, 1.0 * real, snr, kept=(0.9, 0.0, 0.5))
    assert "50% of the real ones are kept with their middle 5 pixels" in shifted
    for words in (blank, shifted):
        assert "Label more bogus" in words


def test_blanked_ones_that_score_as_before_are_said_whatever_the_threshold_keeps(sky):
    real, snr = sky
    # Of 75, a threshold kept 6 as they are, and 14 of the same without a difference.
    [words] = all_words(real, 1.0 * real, snr, kept=(6 / 75, 14 / 75, 0.0), higher=0.38)
    assert "higher in 38% of pairs" in words
    assert "19% are kept, and 8% as they are" in words
    assert all_words(real, 1.0 * real, snr, kept=(0.08, 0.19, 0.0), higher=np.nan) == []


def test_how_much_higher_cutouts_score_as_they_are_needs_no_threshold(rng):
    scores = rng.normal(size=400)
    table = Table({"as_is": scores, "blank": scores - 10, "shifted": scores[::-1]})
    # The same scores in another order: half of the pairs, ties counted as halves.
    assert changed.higher_as_is(table) == {"blank": 1.0, "shifted": pytest.approx(0.5)}
    assert np.isnan(list(changed.higher_as_is(table[:9]).values())).all()
