import tracemalloc
from functools import partial

import numpy as np
import pytest
from astropy.table import Table, vstack
from toy_cutouts import make_candidates, no_labels, write_store
from toy_cutouts import split_toy as split_with

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.tables import rows_of
from gmadet_nb.learning import cube, dataset, folds, leaks, same_pixels, splitting
from gmadet_nb.learning.cube import write_cube
from gmadet_nb.learning.cutouts import CutoutStore, create_store
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.labels import read_labels
from gmadet_nb.learning.places import typical_pixel_scale
from gmadet_nb.learning.stamps import read_stamps

MARGIN = 32
split_toy = partial(split_with, margin=MARGIN)


def of_part(split, *names):
    return split[split["used"] & np.isin(split["part"], names)]


def test_a_person_overrides_the_automatic_label(tmp_path):
    rows = [
        ("n", "a", "real", "injected"),
        ("n", "b", "", ""),
        ("n", "c", "ambiguous", ""),
        ("n", "d", "recurrent", "recurrent"),
        ("n", "e", "bogus", "unmatched"),
        ("n", "", "", ""),
        ("n", "f", "real", "injected"),
        ("n", "g", "ambiguous", ""),
        ("n", "h", "real", "injected"),
        ("n", "h", "ambiguous", ""),
    ]
    names = ("exposure_id", "candidate_id", "auto_label", "auto_origin")
    log = LabelLog(tmp_path / "ann.jsonl")
    said = {"a": "bogus", "b": "bogus", "d": "real", "f": "unsure", "g": "real"}
    for key, label in said.items():
        log.record(key, label)

    labels = dataset.gather_labels(Table(rows=rows, names=names), read_labels(tmp_path))

    assert [tuple(row) for row in labels["candidate_id", "label", "label_origin"]] == [
        ("a", "bogus", "human:ann"),
        ("b", "bogus", "human:ann"),
        ("d", "real", "human:ann"),
        ("e", "bogus", "unmatched"),
        ("g", "real", "human:ann"),
    ]


def test_known_objects_are_real_or_left_out_and_bogus_by_a_person_alone(tmp_path):
    rows = [("n", key, "known", "catalog") for key in "abc"]
    names = ("exposure_id", "candidate_id", "auto_label", "auto_origin")
    crossmatch = Table(rows=[*rows, ("n", "d", "bogus", "unmatched")], names=names)
    LabelLog(tmp_path / "ann.jsonl").record("b", "bogus")
    said = read_labels(tmp_path)

    left_out, real = (
        dataset.gather_labels(crossmatch, said, known_are=word)["label", "label_origin"]
        for word in ("left out", "real")
    )
    ann = ("bogus", "human:ann")
    assert [tuple(row) for row in left_out] == [ann, ("bogus", "unmatched")]
    known = ("real", "catalog")
    assert [tuple(row) for row in real] == [known, ann, known, ("bogus", "unmatched")]
    with pytest.raises(BadParameterError, match="known_are must be one of left out"):
        dataset.gather_labels(crossmatch, said, known_are="bogus")


@pytest.mark.parametrize("n_exposures", [3, 5, 8])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_exposure_is_on_two_sides(rng, n_exposures, seed):
    candidates = make_candidates(n_exposures, 80, rng=rng)
    split = split_toy(candidates, seed=seed)

    sides = [
        set(of_part(split, *names)["exposure_id"])
        for names in (("training", "validation"), ("calibration",), ("test",))
    ]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides)) == n_exposures
    assert set(leaks.check_leaks(split).values()) == {0}
    # Equal exposures: the share of the test part is within half an exposure.
    share = len(of_part(split, "test")) / len(split)
    assert share == pytest.approx(0.2, abs=0.5 / n_exposures + 1e-9)


def test_parts_hold_both_kinds_in_like_shares(rng):
    candidates = make_candidates(9, 60, rng=rng)
    # Night 0 has bogus only; nights 1 to 4 have twice as many real as bogus.
    night = np.array([int(key[6]) for key in candidates["exposure_id"]])
    candidates["auto_label"][night == 0] = "bogus"
    rows = (night > 0) & (night < 5) & (np.arange(len(night)) % 60 < 10)
    candidates["auto_label"][rows] = "real"
    for name in ("calibration", "test"):
        some = of_part(split_toy(candidates), name)
        real = (some["label"] == "real").sum() / (
            candidates["auto_label"] == "real"
        ).sum()
        # Nine exposures: a part of two of them is at best within one of 0.2.
        assert real == pytest.approx(0.2, abs=1 / 9)


def test_the_same_seed_splits_the_same_and_row_order_does_not_matter_to_keys(rng):
    candidates = make_candidates(5, 40, rng=rng)
    first, again = split_toy(candidates), split_toy(candidates)
    assert all((first[name] == again[name]).all() for name in first.colnames)
    mixed = candidates[rng.permutation(len(candidates))]
    labels = dataset.gather_labels(candidates, no_labels())
    other = splitting.split_by_exposure(
        labels,
        mixed,
        calibration_fraction=0.2,
        test_fraction=0.2,
        validation_fraction=0.15,
        bogus_fraction=0.0,
        margin=MARGIN,
        pixel_scale=1.0,
        rng=np.random.default_rng(1),
    )
    assert (other["part"] == first["part"]).all()
    assert (other["candidate_id"] == candidates["candidate_id"]).all()


def test_places_that_training_has_seen_are_flagged(rng):
    candidates = make_candidates(5, 60, rng=rng)
    split = split_toy(candidates)
    # The first third of each exposure stands at the same detector places, moved by
    # 0.2 pixel: well within a FWHM of 3. Others meet by chance only.
    row = np.array([int(key[-5:]) for key in split["candidate_id"]])
    judged = np.isin(split["part"], ("calibration", "test"))
    assert split["place_in_training"][judged & (row < 20)].all()
    assert split["place_in_training"][judged & (row >= 20)].mean() < 0.05
    assert not split["place_in_training"][~judged].any()


def test_a_place_on_the_sky_counts_where_the_detector_differs(rng):
    candidates = make_candidates(4, 60, rng=rng)
    candidates["x"] = rng.uniform(0, 1e6, len(candidates))  # never the same pixel
    split = split_toy(candidates)
    assert not split["place_in_training"].any()

    first = {row["candidate_id"][-5:]: row for row in candidates[:60]}
    for row in candidates:
        source = first[row["candidate_id"][-5:]]
        row["ra"], row["dec"] = source["ra"], source["dec"]
    split = split_toy(candidates)
    judged = np.isin(split["part"], ("calibration", "test"))
    assert split["place_in_training"][judged].all()


def lose_places(candidates, rows):
    candidates["ra"][rows], candidates["dec"][rows] = np.nan, np.nan


def test_without_places_on_the_sky_every_judged_candidate_counts_as_seen(rng, caplog):
    caplog.set_level("INFO")
    candidates = make_candidates(4, 60, rng=rng)
    lose_places(candidates, slice(None))
    split = split_toy(candidates)
    judged = np.isin(split["part"], ("calibration", "test"))
    assert (split["place_in_training"] == judged).all()
    assert "missing for 240 of 240 candidates" in split.meta["note"]
    assert "headline figures are those of no candidate" in split.meta["note"]
    assert split.meta["note"] in caplog.text


def test_an_exposure_without_places_is_seen_where_it_judges_and_blinds_where_it_trains(
    rng,
):
    candidates = make_candidates(5, 60, rng=rng)
    whole = split_toy(candidates)
    assert whole.meta["note"] == ""
    for part in ("test", "training"):
        some = candidates.copy()
        here = of_part(whole, part)["exposure_id"][0]
        lose_places(some, np.asarray(some["exposure_id"] == here))
        split = split_toy(some)
        judged = np.isin(split["part"], ("calibration", "test"))
        flagged = np.asarray(split["place_in_training"])
        if part == "test":
            other = judged & (split["exposure_id"] != here)
            assert flagged[split["exposure_id"] == here].all()
            assert (flagged == whole["place_in_training"])[other].all()
            assert "they count as seen" in split.meta["note"]
        else:
            assert (flagged == judged).all()
            assert "those of no candidate" in split.meta["note"]


def test_within_one_exposure_the_detector_tells_places_apart(rng):
    candidates = make_candidates(1, 400, rng=rng)
    lose_places(candidates, slice(None))
    split = split_toy(candidates)
    assert split.meta["note"] == ""
    assert not split["place_in_training"][split["used"]].any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scales", "wanted"),
    [([0.5, np.nan, 0.7, 9.0], 0.6), ([np.nan, np.nan, np.nan, 9.0], np.nan)],
)
def test_the_pixel_scale_is_that_of_the_exposures_that_have_one(scales, wanted):
    exposures = Table({"pixel_scale": scales, "used": [True, True, True, False]})
    found = typical_pixel_scale(exposures)
    assert found == pytest.approx(wanted, nan_ok=True)


def test_no_place_on_the_sky_trains_in_any_fold_and_validates(rng):
    candidates = make_candidates(5, 90, rng=rng)
    for row in candidates:  # a third recurs on the sky, whatever the dither
        if int(row["candidate_id"][-5:]) < 30:
            source = candidates[int(row["candidate_id"][-5:])]
            row["ra"], row["dec"] = source["ra"], source["dec"]
    split = split_toy(candidates)

    place = {row["candidate_id"]: (row["ra"], row["dec"]) for row in candidates}
    training, validation = (
        {place[key] for key in of_part(split, name)["candidate_id"]}
        for name in ("training", "validation")
    )
    training |= {place[key] for key in of_part(split, "calibration")["candidate_id"]}
    assert training.isdisjoint(validation)
    drawn = of_part(split, "validation")
    learned = of_part(split, "training")
    for kind in ("real", "bogus"):
        n, n_learned = ((rows["label"] == kind).sum() for rows in (drawn, learned))
        assert n / (n + n_learned) == pytest.approx(0.15, abs=0.01)


def test_a_pixel_of_the_detector_that_trains_does_not_validate(rng):
    candidates = make_candidates(6, 60, rng=rng)
    hot = np.array([int(key[-5:]) % 60 < 20 for key in candidates["candidate_id"]])
    for row in np.flatnonzero(hot):
        number = int(candidates["candidate_id"][row][-5:]) % 60
        candidates["x"][row], candidates["y"][row] = 40.0 * number, 700.0

    split = split_toy(candidates)

    known = set(candidates["candidate_id"][hot])
    assert not known & set(of_part(split, "validation")["candidate_id"])
    assert set(of_part(split, "validation")["label"]) == {"real", "bogus"}


def test_a_class_that_never_stands_alone_judges_all_the_same_and_it_is_said(rng):
    candidates = make_candidates(6, 60, rng=rng)
    bogus = np.asarray(candidates["auto_label"] == "bogus")
    # All bogus are the same few hot pixels, in every exposure.
    number = np.cumsum(bogus) % 5
    candidates["x"][bogus], candidates["y"][bogus] = 40.0 * number[bogus], 700.0

    split = split_toy(candidates)

    judges = of_part(split, "validation")
    assert (judges["label"] == "bogus").sum() == splitting.LEAST_JUDGES
    assert (
        "10 of the 10 bogus ones that judge each pass stand where"
        in (split.meta["note"])
    )


@pytest.mark.parametrize("n_exposures", [1, 2])
def test_one_or_two_exposures_are_split_by_cell_without_shared_pixels(rng, n_exposures):
    candidates = make_candidates(n_exposures, 400, rng=rng)
    split = split_toy(candidates)

    assert split.meta["unit"] == "cell"
    leaks.check_leaks(split, candidates, margin=MARGIN)
    xy = {row["candidate_id"]: (row["x"], row["y"]) for row in candidates}
    train, test = (
        np.array([xy[key] for key in of_part(split, *names)["candidate_id"]])
        for names in (("training", "validation"), ("test",))
    )
    if n_exposures == 1:
        away = np.abs(train[:, None] - test[None]).max(axis=2)
        assert away.min() > MARGIN
    for part in dataset.PARTS:
        assert {"real", "bogus"} == set(of_part(split, part)["label"])
    # Bands a fifth of 1100 pixels wide lose a margin of 46 at their one border: a
    # fifth of 40 %; candidates of a second exposure lose as much again.
    assert split["used"].mean() > 1 - 1.5 * n_exposures * 0.08


def test_a_leak_is_found(rng):
    candidates = make_candidates(4, 30, rng=rng)
    split = split_toy(candidates)
    row = np.flatnonzero(split["part"] == "test")[0]
    split["part"][row] = "training"
    with pytest.raises(BadInputError, match="exposures on two sides: 1"):
        leaks.check_leaks(split)

    candidates = make_candidates(1, 200, rng=rng)
    split = split_toy(candidates)
    row = np.flatnonzero(split["used"] & (split["part"] == "test"))[0]
    split["part"][row] = "training"
    with pytest.raises(BadInputError, match="share pixels"):
        leaks.check_leaks(split, candidates, margin=500)


def test_an_exposure_in_two_folds_is_a_leak(rng):
    candidates = make_candidates(6, 30, rng=rng)
    split = split_toy(candidates)
    found = folds.make_folds(
        split, candidates, n_folds=3, margin=MARGIN, pixel_scale=1.0, rng=rng
    )
    split = folds.add_folds(split, found)
    assert set(leaks.check_leaks(split).values()) == {0}
    row = np.flatnonzero(split["fold"] >= 0)[0]
    split["fold"][row] = (split["fold"][row] + 1) % 3
    with pytest.raises(BadInputError, match="exposures in two folds: 1"):
        leaks.check_leaks(split)


def divide(rng, *, n_exposures=6, n_each=60):
    """Return a split with three folds, and its candidates."""
    candidates = make_candidates(n_exposures, n_each, rng=rng)
    split = split_toy(candidates)
    found = folds.make_folds(
        split, candidates, n_folds=3, margin=MARGIN, pixel_scale=1.0, rng=rng
    )
    return folds.add_folds(split, found), candidates


def near_trained(split, candidates):
    """Count by all pairs who stands within 3 pixels, the FWHM, of who trained."""
    x, y, ra, dec = (
        np.asarray(candidates[name])[
            rows_of(split["candidate_id"], candidates["candidate_id"])
        ]
        for name in ("x", "y", "ra", "dec")
    )
    on_sky = np.cos(np.radians(-30)) * 3600 * ra, 3600 * dec
    near = np.zeros((len(split), len(split)), bool)
    for a, b in ((x, y), on_sky):
        near |= np.hypot(a[:, None] - a, b[:, None] - b) <= 3
    part, fold = np.asarray(split["part"]), np.asarray(split["fold"])
    trained = part[None] != "test"
    test = (part == "test")[:, None] & trained & near
    other = (fold >= 0)[:, None] & trained & (fold[:, None] != fold) & near
    return int(test.any(axis=1).sum()), int(other.any(axis=1).sum())


def test_places_that_trained_are_found_again_whatever_the_split_says(rng):
    split, candidates = divide(rng)
    look = partial(leaks.check_leaks, candidates=candidates, pixel_scale=1.0)
    found = look(split)
    assert {name for name in found if "a place that trained" in name} == {
        "headline test candidates at a place that trained",
        "headline folded candidates at a place that trained",
    }
    assert set(found.values()) == {0}
    split["place_in_training"] = False
    n_test, n_folded = near_trained(split, candidates)
    assert min(n_test, n_folded) > 10
    words = f"test candidates at a place that trained: {n_test}, .*: {n_folded}"
    with pytest.raises(BadInputError, match=words):
        look(split)


@pytest.mark.parametrize("on", ["sky", "detector"])
@pytest.mark.parametrize(("part", "n"), [("test", 1), ("calibration", 2)])
def test_one_headline_candidate_beside_one_that_trained_is_a_leak(rng, on, part, n):
    # Of two in different folds each trains the model that judges the other.
    split, candidates = divide(rng)
    row = rows_of(split["candidate_id"], candidates["candidate_id"])
    new = ~np.asarray(split["place_in_training"], bool)
    mine = np.flatnonzero(new & (split["part"] == part))[0]
    fold = np.asarray(split["fold"])
    other = np.flatnonzero(new & (fold >= 0) & (fold != fold[mine]))[0]
    for name in ("ra", "dec") if on == "sky" else ("x", "y"):
        candidates[name][row[mine]] = candidates[name][row[other]]
    with pytest.raises(BadInputError, match=f"at a place that trained: {n}"):
        leaks.check_leaks(split, candidates, pixel_scale=1.0)


def test_what_cannot_be_looked_for_is_not_said_to_be_absent(rng):
    split, candidates = divide(rng)
    assert not any("place" in name for name in leaks.check_leaks(split))
    assert not any("pixels" in name for name in leaks.check_leaks(split))
    for name in ("x", "y", "ra", "dec", "psf_fwhm"):
        candidates[name] = np.nan
    found = leaks.check_leaks(split, candidates, pixel_scale=1.0)
    assert not any("place" in name for name in found)


def test_cutouts_of_two_bands_of_the_sky_that_share_pixels_are_a_leak(rng):
    split, candidates = divide(rng, n_exposures=1, n_each=400)
    found = leaks.check_leaks(split, candidates, margin=MARGIN, pixel_scale=1.0)
    assert found["cutouts that share pixels with another side"] == 0
    assert set(found.values()) == {0}
    assert split["border"].any()
    split["border"] = False
    with pytest.raises(BadInputError, match="share pixels with another side"):
        leaks.check_leaks(split, candidates, margin=MARGIN)


@pytest.fixture
def folded(rng, tmp_path):
    """Return a split with folds, noise for its cutouts, and how to look for leaks."""
    candidates = make_candidates(6, 30, rng=rng)
    parts = split_toy(candidates)
    found = folds.make_folds(
        parts, candidates, n_folds=2, margin=MARGIN, pixel_scale=1.0, rng=rng
    )
    split = folds.add_folds(parts, found)
    pixels = rng.normal(size=(len(split), 8, 8, 3)).astype(np.float32)

    def write():
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        with create_store(path, size=8) as writer:
            writer.append(split["candidate_id"], "all", pixels)
        return CutoutStore(path)

    return split, pixels, write


def test_a_cutout_that_comes_again_on_another_side_is_a_leak(folded):
    split, pixels, write = folded
    assert set(leaks.check_leaks(split, store=write()).values()) == {0}
    one, two = (np.flatnonzero(split["part"] == p)[-1] for p in ("training", "test"))
    pixels[two] = pixels[one]
    ids = ", ".join(split["candidate_id"][np.sort([one, two])])
    with pytest.raises(BadInputError, match=f"another side: 2; the same are {ids}"):
        leaks.check_leaks(split, store=write())


def test_a_cutout_in_two_folds_is_a_leak_though_both_train(folded):
    split, pixels, write = folded
    training = np.asarray(split["part"] == "training")
    one, two = (np.flatnonzero(training & (split["fold"] == k))[0] for k in (0, 1))
    pixels[two] = pixels[one]
    with pytest.raises(BadInputError, match="the same as one on another side: 2"):
        leaks.check_leaks(split, store=write())
    # Within a fold no model judges what it has trained on.
    pixels[two] += 1
    pixels[np.flatnonzero(training & (split["fold"] == 0))[1]] = pixels[one]
    assert set(leaks.check_leaks(split, store=write()).values()) == {0}


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_differences_of_one_value_are_alike_and_no_leak(folded, value):
    split, pixels, write = folded
    for part in ("training", "test"):
        pixels[np.flatnonzero(split["part"] == part)[:3], ..., -1] = value
    store = write()
    assert set(leaks.check_leaks(split, store=store).values()) == {0}
    labels, counts = same_pixels.keep_one_of_each(split, store)
    assert len(labels) == len(split) - 6
    assert counts == {"n_repeated": 0, "n_contradicting": 0, "n_blank": 6}
    assert same_pixels.in_words(counts) == "6 nothing to judge"
    assert same_pixels.in_words(dict.fromkeys(counts, 0)) == "none"


def test_one_of_the_same_cutouts_stays_and_a_person_s_label_counts_first(folded):
    split, pixels, write = folded
    labels = split["candidate_id", "label", "label_origin"]
    labels["label_origin"] = labels["label_origin"].astype("U12")
    labels["label"][:9] = ["bogus"] * 3 + ["bogus", "bogus", "real"] + ["real"] * 3
    labels["label_origin"][:9] = "unmatched"
    labels["label_origin"][5] = "human:an"
    labels["label"][8] = "bogus"
    for start in (0, 3, 6):
        pixels[start : start + 3] = pixels[start]
    kept, counts = same_pixels.keep_one_of_each(labels, write())
    # The first of the first three; the human one; none where real and bogus differ.
    stays = [str(key) for key in labels["candidate_id"][[0, 5]]]
    assert list(kept["candidate_id"][:2]) == stays
    assert list(kept["candidate_id"][2:]) == list(labels["candidate_id"][9:])
    assert counts == {"n_repeated": 4, "n_contradicting": 3, "n_blank": 0}


def test_where_there_is_nothing_to_judge_nothing_is_learned(folded):
    split, pixels, write = folded
    pixels[1, ..., -1] = np.nan
    pixels[4, 2:7, 2:7, -1] = np.nan
    kept, counts = same_pixels.keep_one_of_each(split, write())
    left_out = set(split["candidate_id"]) - set(kept["candidate_id"])
    assert left_out == set(split["candidate_id"][[1, 4]])
    assert counts["n_blank"] == 2


def test_what_is_blank_and_the_same_is_left_out_and_counted_once(folded):
    split, pixels, write = folded
    pixels[[1, 4], ..., -1] = pixels[1, ..., -1]
    pixels[[1, 4], 2:7, 2:7, -1] = np.nan
    kept, counts = same_pixels.keep_one_of_each(split, write())
    assert len(kept) == len(split) - 2
    assert counts == {"n_repeated": 0, "n_contradicting": 0, "n_blank": 2}


@pytest.mark.parametrize("wanted", [0.1, 0.3, 0.9])
def test_only_the_training_part_is_thinned_and_at_random(rng, wanted):
    candidates = make_candidates(5, 200, rng=rng)
    split = split_toy(candidates, bogus_fraction=wanted)

    some = of_part(split, "training", "validation")
    share = (some["label"] == "bogus").mean()
    # Half are bogus; a wanted share above that leaves all. Two roundings.
    assert share == pytest.approx(min(wanted, 0.5), abs=2 / len(some) + 0.01)
    assert split["used"][np.isin(split["part"], ("calibration", "test"))].all()
    left_out = np.flatnonzero(~split["used"])
    if len(left_out):
        bogus = np.flatnonzero(
            (split["label"] == "bogus") & (split["part"] == "training")
        )
        assert not np.array_equal(left_out[: len(bogus)], bogus[: len(left_out)])
        first_half = np.isin(bogus[: len(bogus) // 2], left_out).mean()
        assert first_half == pytest.approx(np.isin(bogus, left_out).mean(), abs=0.2)


def test_too_little_to_train_on_is_said(rng):
    candidates = make_candidates(3, 60, rng=rng)
    candidates["auto_label"] = "real"
    with pytest.raises(BadInputError, match="10 bogus candidates or more, got 0"):
        dataset.check_trainable(split_toy(candidates))
    candidates = make_candidates(3, 60, rng=rng)
    words = dataset.check_trainable(split_toy(candidates))
    assert any("folds have 60 bogus" in line for line in words)
    # Some of its 30 stand where others do.
    assert any("test part has" in line and " 30" in line for line in words)
    candidates["auto_label"] = ""
    with pytest.raises(BadInputError, match="needs labelled candidates"):
        split_toy(candidates)
    with pytest.raises(BadParameterError, match="test_fraction"):
        split_toy(make_candidates(3, 9, rng=rng), test_fraction=1.5)


@pytest.mark.parametrize(
    ("origins", "idle"),
    [
        # Everything by a person: nothing stands beside it.
        (["human:a"] * 4, "human_weight, which is 3, changes nothing: in a class"),
        # Two origins, one a class: the classes count the same anyway.
        (["injected"] * 2 + ["human:a"] * 2, "human_weight, which is 3"),
        (["injected"] * 2 + ["unmatched"] * 2, "there is no such label"),
        (["injected", "human:a", "unmatched", "unmatched"], ""),
    ],
)
def test_weights_that_change_nothing_are_said(origins, idle):
    split = Table({"label": ["real", "real", "bogus", "bogus"]})
    split["label_origin"], split["used"], split["part"] = origins, True, "training"
    weight_of = {"unmatched_weight": 1.0, "catalog_weight": 1.0}
    words = dataset.idle_weights(split, human_weight=3.0, **weight_of)
    assert len(words) == bool(idle)
    assert all(idle in text for text in words)
    assert dataset.idle_weights(split, human_weight=1.0, **weight_of) == []


def test_labels_of_the_test_part_give_no_weight_an_effect():
    split = Table({"label": ["real", "real", "bogus"], "used": [True] * 3})
    split["label_origin"] = ["injected", "human:a", "unmatched"]
    split["part"] = ["training", "test", "training"]
    weight_of = {"unmatched_weight": 1.0, "catalog_weight": 1.0}
    [words] = dataset.idle_weights(split, human_weight=3.0, **weight_of)
    assert words == "human_weight, which is 3, changes nothing: there is no such label."
    split["part"] = "training"
    assert dataset.idle_weights(split, human_weight=3.0, **weight_of) == []


@pytest.mark.parametrize(
    ("target_fpr", "said"),
    [
        # 400 at new places are enough to show 1 %, and choose the threshold alone.
        (0.01, "folds have 400 bogus at places that no training has seen, of 2000"),
        (0.05, ""),
    ],
)
def test_bogus_that_choose_the_threshold_are_those_that_are_counted(target_fpr, said):
    n = 2500
    split = Table({"label": np.where(np.arange(n) < 2000, "bogus", "real")})
    split["part"], split["exposure_id"], split["used"] = "training", "e", True
    split["place_in_training"] = (np.arange(n) >= 400) & (np.arange(n) < 2000)
    test = split[[0] * 400 + [2100] * 50]
    test["part"] = "test"
    words = dataset.check_trainable(vstack([split, test]), target_fpr=target_fpr)
    assert len(words) == bool(said)
    assert all(said in line and "steady only above 1000" in line for line in words)


def test_the_cube_goes_out_and_comes_in(tmp_path, rng):
    candidates = make_candidates(4, 30, rng=rng)
    write_store(tmp_path / "cutouts.h5", candidates, size=11, rng=rng)
    store = CutoutStore(tmp_path / "cutouts.h5")
    split = split_toy(candidates, bogus_fraction=0.3)
    n = write_cube(tmp_path / "dataset" / "cube.npz", split, candidates, store)

    back = read_stamps(tmp_path / "dataset" / "cube.npz")
    used = split[split["used"]]
    assert n == len(back.table) == len(used)
    assert set(back.table["candidate_id"]) == set(used["candidate_id"])
    assert back.pixels.dtype == np.float32
    np.testing.assert_array_equal(
        back.pixels[..., 2], store.read(back.table["candidate_id"])[..., 2]
    )
    assert set(back.table["fwhm"]) == {3.1}
    label = dict(used["candidate_id", "label"].iterrows())
    assert [label[key] for key in back.table["candidate_id"]] == list(
        back.table["label"]
    )
    with np.load(tmp_path / "dataset" / "cube.npz", allow_pickle=False) as file:
        assert file["cube"].shape == (n, 11, 11, 1)
        assert set(file["labels"]) == {0, 1}


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_a_cube_written_in_blocks_holds_each_cutout_once_in_order(
    tmp_path, rng, monkeypatch, block
):
    monkeypatch.setattr(cube, "BLOCK", block)
    candidates = make_candidates(3, 20, rng=rng)
    with create_store(tmp_path / "cutouts.h5", size=9) as writer:
        pixels = rng.normal(size=(60, 9, 9, 3)).astype(np.float32)
        pixels[3, 0, 0, 2], pixels[4, 0, 0, 2] = np.nan, np.inf
        writer.append(candidates["candidate_id"], "all", pixels)
    split = split_toy(candidates)
    n = write_cube(
        tmp_path / "cube.npz", split, candidates, CutoutStore(tmp_path / "cutouts.h5")
    )
    with np.load(tmp_path / "cube.npz", allow_pickle=False) as file:
        names = "cube labels mags errmags filters candids fwhms parts exposure_ids"
        assert file.files == names.split()
        rows = rows_of(file["candids"], candidates["candidate_id"])
        wanted = np.nan_to_num(pixels[rows][..., 2:], posinf=0)
        assert file["cube"].dtype == np.float32
        np.testing.assert_array_equal(file["cube"], wanted)
        assert len(rows) == n == len(set(rows))


def test_a_cube_takes_the_memory_of_a_block_and_not_of_all(tmp_path, rng, monkeypatch):
    size, block = 32, 32
    monkeypatch.setattr(cube, "BLOCK", block)
    candidates = make_candidates(4, 400, rng=rng)
    write_store(tmp_path / "cutouts.h5", candidates, size=size, rng=rng)
    store, split = CutoutStore(tmp_path / "cutouts.h5"), split_toy(candidates)
    path = tmp_path / "cube.npz"
    write_cube(path, split, candidates, store)  # what is imported counts not
    tracemalloc.start()
    n = write_cube(path, split, candidates, store)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A block is read with up to four times its rows, three planes each, and copied
    # three times; tables take some hundred bytes a row.
    plane = 4 * size**2
    assert peak < (4 * 3 + 3 * 3) * block * plane + 1000 * n
    assert peak < n * plane
