import json
import os
import shutil
import sys
from subprocess import run as run_process
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from toy_candidates import add_numbers
from toy_cutouts import (
    fold_toy,
    make_candidates,
    make_pixels,
    split_toy,
    write_store,
)

from gmadet_nb.errors import BadInputError, BadParameterError, StageError
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning import (
    baselines,
    checkpoints,
    crossfit,
    evaluate,
    folds,
    fused,
    infer,
    part_metrics,
    saving,
    scorer,
    train,
)
from gmadet_nb.learning.cutouts import CutoutStore, create_store
from gmadet_nb.learning.features import FEATURES, candidate_features

# Keras 3.15 hands TensorFlow's variables to numpy in a way that numpy 2 deplores.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

SIZE = 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on five toy exposures of 80 candidates, in two folds, once."""
    rng = np.random.default_rng(7)
    run = RunDir(tmp_path_factory.mktemp("run"))
    candidates = make_candidates(5, 80, rng=rng)
    add_numbers(candidates, rng=rng)
    write_store(run.cutouts_path, candidates, size=SIZE, rng=rng)
    store = CutoutStore(run.cutouts_path)
    split = make_split(candidates)
    training = make_training(epochs=12)
    model = fused.fit_fused(split, store, candidates, training)
    card = saving.save_model(
        run.model_dir, model, store=store, split=split, training=training
    )
    opened = scorer.open_scorer(run.model_dir, card)
    scores = model.put_out_of_fold(
        infer.score_store(store, opened, candidates=candidates, batch_size=100)
    )
    threshold = model.threshold(0.02)
    metrics = part_metrics.metrics(
        split, scores, threshold.value, candidates=candidates
    )
    compared = baselines.compare(split, scores, candidates, target_fpr=0.02)
    card = saving.finish_card(run, card, threshold, metrics, compared=compared)
    return SimpleNamespace(
        run=run,
        store=store,
        split=split,
        candidates=candidates,
        model=model,
        scores=scores,
        card=card,
        compared=compared,
    )


def make_split(candidates):
    parts = split_toy(candidates, margin=SIZE)
    found = fold_toy(parts, candidates, margin=SIZE, n_folds=2)
    return folds.add_folds(parts, found)


def make_training(**changes):
    values = {"network": "small", "epochs": 2, "batch_size": 32, "dropout": 0.2}
    values |= {"patience": 10, "seed": 3}
    return train.Training(**(values | changes))


def test_the_toy_set_is_learned(trained):
    history = trained.model.history
    assert trained.card["metrics"]["test"]["all"]["auc"] > 0.95
    for k in range(2):
        mine = history[history["fold"] == k]
        assert mine["loss"][-1] < 0.5 * mine["loss"][0]
        assert list(mine["epoch"]) == list(range(1, len(mine) + 1))
        # Of the second half of the 12 wanted: before, the learning rate is high.
        (best,) = mine[mine["best"]]
        assert best["epoch"] > 6
        assert best["val_loss"] == mine["val_loss"][6:].min()


def test_no_network_has_seen_the_fold_that_it_judges(trained):
    model, store = trained.model, trained.store
    rows = model.folds.rows
    by_each = np.asarray(model.network(store.read(rows["candidate_id"])))
    fold = np.asarray(rows["fold"])
    mine = scorer.network_logits(by_each[np.arange(len(rows)), fold])
    # In batches of another size sums are rounded in another order.
    np.testing.assert_allclose(model.logits[:, 0], mine, atol=1e-3)


def test_folded_candidates_keep_their_out_of_fold_score(trained):
    table = fused.out_of_fold_table(trained.model)
    known = dict(zip(table["candidate_id"], table["score"], strict=True))
    mine = np.array([key in known for key in trained.scores["candidate_id"]])
    np.testing.assert_array_equal(trained.scores["out_of_fold"], mine)
    found = trained.scores[mine]
    assert [known[key] for key in found["candidate_id"]] == list(found["score"])
    assert set(table.colnames) >= {"network_score", "trees_score", "fold"}


def test_each_score_is_the_mean_of_the_models_and_has_their_scatter(trained):
    opened = scorer.load_model(trained.run.model_dir)
    features = candidate_features(trained.candidates)[:50]
    pixels = trained.store.read(trained.candidates["candidate_id"][:50])
    found = opened.judge(pixels, features)

    network = scorer.network_logits(opened.predict(pixels))
    both = np.stack([network, opened.trees.logits(features)], axis=2)
    each = np.stack([opened.fusion.apply(both[:, k]) for k in range(2)], axis=1)
    p = 1 / (1 + np.exp(-each))
    np.testing.assert_allclose(
        found["score"], 1 / (1 + np.exp(-each.mean(axis=1))), atol=1e-6
    )
    np.testing.assert_allclose(
        found["score_scatter"], np.abs(p[:, 0] - p[:, 1]) / np.sqrt(2), atol=1e-6
    )


def test_a_score_does_not_depend_on_what_is_scored_with_it(trained):
    opened = scorer.load_model(trained.run.model_dir)
    features = candidate_features(trained.candidates)
    pixels = trained.store.read(trained.candidates["candidate_id"])
    together = opened.score(pixels, features)
    # Float32 sums of some hundred terms, in another order.
    for some in (slice(0, 1), slice(60, 70), slice(130, 400)):
        alone = opened.score(pixels[some], features[some])
        np.testing.assert_allclose(alone, together[some], atol=1e-6)


def test_the_model_is_compared_with_its_parts_and_with_cuts(trained):
    table = trained.compared
    assert list(table["judge"]) == [
        "S/N cut",
        "FWHM-ratio cut",
        "PSF-chi2 cut",
        "trees alone",
        "networks alone",
        "fused",
    ]
    fused_row, card = table[-1], trained.card["metrics"]["test"]["headline"]
    assert fused_row["auc"] == pytest.approx(card["auc"])
    assert fused_row["tpr"] == card["tpr"]["value"]
    assert fused_row["auc"] > table["auc"][0]
    assert [row["judge"] for row in trained.card["baselines"]] == list(table["judge"])


def test_candidates_without_numbers_are_judged_by_the_networks_alone(
    trained, monkeypatch
):
    def no_training(split, store, training, *, number, start):
        network = train.build_network("small", size=SIZE, dropout=0, number=number)
        return network, trained.model.history[:0]

    monkeypatch.setattr(fused, "train_network", no_training)
    bare = trained.candidates["candidate_id", "exposure_id"]
    found = fused.fit_fused(trained.split, trained.store, bare, make_training())
    assert found.fusion.judges == ["network"]
    assert found.trees == []
    assert np.isfinite(found.scores).all()


def keep(trained, folder, **changes):
    values = {"split": trained.split, "store": trained.store}
    values |= {"training": make_training(epochs=1)}
    return checkpoints.Checkpoints(folder, **(values | changes))


def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(
    trained, tmp_path, monkeypatch
):
    sets = (trained.split, trained.store, trained.candidates, make_training(epochs=1))
    whole = fused.fit_fused(*sets)
    asked = []

    def killed_in_the_second(split, store, training, *, number, start):
        asked.append(number)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return train.train_network(split, store, training, number=number)

    monkeypatch.setattr(fused, "train_network", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        fused.fit_fused(*sets, checkpoints=keep(trained, tmp_path))
    found = fused.fit_fused(*sets, checkpoints=keep(trained, tmp_path))

    assert asked == [0, 1, 1]
    assert found.notes == ["Fold 1 of 2 was trained before."]
    assert found.history.colnames == whole.history.colnames
    # Threads add up in any order: float32's 1e-7 grows over some ten steps.
    np.testing.assert_allclose(found.logits, whole.logits, atol=1e-2)
    np.testing.assert_allclose(found.history["loss"], whole.history["loss"], rtol=1e-3)
    for name in ("fold", "epoch", "best"):
        np.testing.assert_array_equal(found.history[name], whole.history[name])


def test_a_kept_fold_is_the_very_network_and_counts_for_its_own_training_alone(
    trained, tmp_path, caplog
):
    model, history = train.train_network(
        trained.split, trained.store, make_training(epochs=1)
    )
    keep(trained, tmp_path).save(0, model, history)
    same, its_history = keep(trained, tmp_path).load(0)
    pixels = trained.store.read(trained.store.candidate_ids[:16])
    np.testing.assert_array_equal(same(pixels), model(pixels))
    assert its_history.pformat() == history.pformat()

    other = trained.split.copy()
    some = np.flatnonzero(other["fold"] >= 0)[:2]
    other["fold"][some] = 1 - other["fold"][some]
    for changes in (
        {"training": make_training(epochs=2)},
        {"training": make_training(epochs=1, seed=4)},
        {"split": other},
        {"start": "another model"},
    ):
        assert keep(trained, tmp_path, **changes).load(0) is None
    assert keep(trained, tmp_path).load(1) is None
    (path,) = (tmp_path / saving.CHECKPOINTS).iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert keep(trained, tmp_path).load(0) is None
    assert "is broken" in caplog.text


def test_a_damaged_fold_is_trained_again_and_never_stops_the_run(trained, tmp_path):
    model, history = train.train_network(
        trained.split, trained.store, make_training(epochs=1)
    )
    kept = keep(trained, tmp_path)
    kept.save(0, model, history)
    (path,) = (tmp_path / saving.CHECKPOINTS).iterdir()
    whole, rng = path.read_bytes(), np.random.default_rng(7)
    # The heads and the list of files at the end are where a byte counts most.
    near_ends = np.concatenate([np.arange(400), len(whole) - 1 - np.arange(1200)])
    for at in rng.choice(near_ends, size=60, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        found = kept.load(0)
        assert found is None or found[1].colnames == history.colnames


def test_a_finished_model_keeps_no_checkpoints(trained, tmp_path):
    run = RunDir(tmp_path)
    folder = run.model_dir / saving.CHECKPOINTS
    folder.mkdir(parents=True)
    (folder / "anew_0.npz").touch()
    threshold = trained.model.threshold(0.02)
    saving.finish_card(run, {}, threshold, {})
    assert [path.name for path in run.model_dir.iterdir()] == [scorer.CARD]


def test_onnx_and_keras_give_the_same_scores(trained, rng):
    run = trained.run
    pixels = make_pixels(rng.random(40) < 0.5, size=SIZE, rng=rng)
    features = candidate_features(trained.candidates)[:40]
    pixels[0, : SIZE // 2] = np.nan
    pixels[1, ..., :2] = np.nan
    pixels[2] = 5.0
    pixels[2, 0, 0] = 6.0  # noise of no width, and yet not all of one value
    by_onnx = scorer.load_model(run.model_dir).score(pixels, features)
    by_keras = scorer.load_model(run.model_dir, engine="keras")
    by_keras = by_keras.score(pixels, features)

    assert np.isfinite(by_onnx).all()
    np.testing.assert_allclose(by_onnx, by_keras, atol=saving.ONNX_TOLERANCE)


def test_the_card_says_what_the_model_is(trained):
    run, store, split, card = trained.run, trained.store, trained.split, trained.card
    on_disk = scorer.read_card(run.model_dir)

    assert on_disk == json.loads(json.dumps(card))
    assert on_disk["input"]["planes"] == ["science", "reference", "difference"]
    assert on_disk["input"]["size"] == SIZE
    assert 0 < on_disk["threshold"] <= 1
    assert "out-of-fold scores" in on_disk["threshold_how"]
    assert on_disk["input"]["features"] == FEATURES
    assert list(on_disk["input"]["features"]) == list(FEATURES)
    assert set(on_disk["onnx_difference"]) == {"network", "trees"}
    assert set(on_disk["fusion"]["losses"]) == {"mean", "network", "trees"}
    n_folded = sum(fold["n_real"] + fold["n_bogus"] for fold in on_disk["folds"])
    assert n_folded == (split["fold"] >= 0).sum()
    assert on_disk["training_hash"] == saving.training_hash(split, store)
    used = split[split["used"]]
    assert (
        on_disk["labels_by_origin"]["injected"]["real"]
        == (used["label"] == "real").sum()
    )
    assert on_disk["weights_by_origin"] == {"injected": 1.0, "unmatched": 1.0}
    exposures = [set(part["exposures"]) for part in on_disk["parts"].values()]
    assert exposures[0].isdisjoint(exposures[2] | exposures[3])


def test_the_hash_changes_with_a_label_but_not_with_the_order(trained):
    store, split, card = trained.store, trained.split, trained.card
    assert saving.training_hash(split[::-1], store) == card["training_hash"]
    other = split.copy()
    row = np.flatnonzero(other["part"] == "training")[0]
    other["label"][row] = "bogus" if other["label"][row] == "real" else "real"
    assert saving.training_hash(other, store) != card["training_hash"]


def test_the_same_seed_trains_the_same_network_in_memory_or_from_disk(
    trained, monkeypatch
):
    store, split = trained.store, trained.split
    pixels = store.read(store.candidate_ids[:16])
    in_memory = train.train_network(split, store, make_training(epochs=1))
    monkeypatch.setattr(train, "MEMORY_LIMIT", 0)
    from_disk = train.train_network(split, store, make_training(epochs=1))

    # Threads add up in any order: float32's 1e-7 grows over some ten steps.
    assert from_disk[1]["loss"][0] == pytest.approx(in_memory[1]["loss"][0], rel=1e-3)
    np.testing.assert_allclose(from_disk[0](pixels), in_memory[0](pixels), atol=1e-3)


# bfloat16 has 8 bits: each value is off by 0.4 %, the loss of a pass by a few. With
# float16 Keras leaves out a first step that overflows, one of some eight.
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("mixed_float16", 0.15), ("mixed_bfloat16", 0.05)]
)
def test_mixed_precision_trains_the_same_network_less_exactly(
    trained, precision, tolerance
):
    store, split = trained.store, trained.split
    training = make_training(epochs=1, precision=precision)
    before = train.keras.config.dtype_policy().name
    model, history = train.train_network(split, store, training)
    exact = train.train_network(split, store, make_training(epochs=1))[1]

    assert train.keras.config.dtype_policy().name == before
    assert {layer.compute_dtype for layer in model.layers[-1].layers} == {"float32"}
    pixels = store.read(store.candidate_ids[:16])
    assert np.asarray(model(pixels)).dtype == np.float32
    assert history["loss"][0] == pytest.approx(exact["loss"][0], rel=tolerance)


def test_all_gpus_train_a_network_that_one_device_can_use(trained):
    store, split = trained.store, trained.split
    # Without a GPU the strategy has one device, the processor.
    model, history = train.train_network(
        split, store, make_training(epochs=6, all_gpus=True)
    )
    assert history["val_auc"][-1] > 0.95
    judged = split[split["part"] == "validation"]
    scores = np.asarray(model(store.read(judged["candidate_id"])))[:, 0]
    assert evaluate.auc(judged["label"] == "real", scores) > 0.95


def test_where_every_place_is_seen_all_candidates_choose(trained):
    seen = trained.split.copy()
    seen["place_in_training"] = True
    found = crossfit.fold_threshold(
        folds.read_folds(seen), trained.model.scores, target_fpr=0.02
    )
    assert found.how.startswith("out-of-fold scores, all places")
    metrics = part_metrics.metrics(seen, trained.scores, found.value)
    test = metrics["test"]
    assert test["headline"]["tpr"]["n"] == test["headline"]["fpr"]["n"] == 0
    assert test["all"]["tpr"]["n"] > 0
    assert "TPR not known" in part_metrics.describe(test["headline"], name="Test")


def test_no_training_without_both_kinds(trained):
    store, split = trained.store, trained.split
    with pytest.raises(BadInputError, match="10 bogus candidates or more, got 0"):
        train.train_network(split[split["label"] == "real"], store, make_training())
    with pytest.raises(BadParameterError, match="epochs"):
        make_training(epochs=0)


def test_a_shift_that_loses_the_candidate_is_refused(trained):
    with pytest.raises(BadParameterError, match="max_shift must be below a quarter"):
        train.train_network(trained.split, trained.store, make_training(max_shift=9))


def test_it_trains_without_a_validation_part(trained):
    store, split = trained.store, trained.split
    history = train.train_network(
        split[split["part"] != "validation"], store, make_training(epochs=1)
    )[1]
    assert np.isnan(history["val_loss"]).all()
    assert history["best"].all()


def test_scores_are_by_candidate_and_nan_where_there_is_nothing(trained, tmp_path):
    store, scores, card = trained.store, trained.scores, trained.card
    opened = scorer.load_model(trained.run.model_dir)
    test = trained.split["candidate_id"][trained.split["part"] == "test"][:3]
    by_id = dict(scores["candidate_id", "score"].iterrows())
    known = np.array([by_id[key] for key in test])
    pixels = store.read(test)
    pixels[1, ..., 2] = np.nan
    row = {key: i for i, key in enumerate(trained.candidates["candidate_id"])}
    candidates = trained.candidates[[row[key] for key in test]]
    candidates["candidate_id"] = ["x", "y", "z"]
    with create_store(tmp_path / "cutouts.h5", size=SIZE) as writer:
        writer.append(["x", "y", "z"], "night_0", pixels)
    small = CutoutStore(tmp_path / "cutouts.h5")
    found = infer.score_store(small, opened, candidates=candidates[::-1], batch_size=2)
    kept = infer.keep_above(found, card["threshold"])

    assert list(found["candidate_id"]) == ["x", "y", "z"]
    assert np.isnan(found["score"]).tolist() == [False, True, False]
    np.testing.assert_allclose(found["score"][[0, 2]], known[[0, 2]], atol=1e-5)
    assert list(found["unscored"]) == ["", "nothing measured", ""]
    assert not kept["kept"][1]
    infer.check_scores(found)
    found["score"] = np.nan
    with pytest.raises(StageError, match="only 0 of 3"):
        infer.check_scores(found)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("zeros", "constant difference"),
        ("level", "constant difference"),
        ("one pixel", "core not measured"),
        ("no core", "core not measured"),
        ("infinite", "nothing measured"),
    ],
)
def test_a_cutout_with_nothing_to_judge_gets_no_score_and_is_counted(
    trained, tmp_path, caplog, spoil, why
):
    opened = scorer.load_model(trained.run.model_dir)
    candidates, middle = trained.candidates[:3], slice(SIZE // 2 - 2, SIZE // 2 + 3)
    pixels = trained.store.read(candidates["candidate_id"])
    difference = pixels[1, ..., 2]
    if spoil == "no core":
        difference[middle, middle] = np.nan
    else:
        values = {"zeros": 0, "level": 300, "one pixel": np.nan, "infinite": np.inf}
        difference[...] = values[spoil]
    if spoil == "one pixel":
        difference[SIZE // 2, SIZE // 2] = 50
    with create_store(tmp_path / "cutouts.h5", size=SIZE) as writer:
        writer.append(candidates["candidate_id"], "night_0", pixels)
    small = CutoutStore(tmp_path / "cutouts.h5")
    found = infer.score_store(small, opened, candidates=candidates, batch_size=2)

    assert list(found["unscored"]) == ["", why, ""]
    for name in ("score", "score_scatter", "network_score", "trees_score"):
        assert np.isfinite(found[name]).tolist() == [True, False, True]
    assert f"1 of 3 cutouts have nothing to judge and get no score: {why} 1." in (
        caplog.text
    )


def test_numbers_that_are_missing_are_asked_for(trained):
    opened, store = scorer.load_model(trained.run.model_dir), trained.store
    with pytest.raises(BadInputError, match="one row for each of the 2 cutouts"):
        opened.score(store.read(store.candidate_ids[:2]))
    with pytest.raises(BadInputError, match="give their table"):
        infer.score_store(store, opened, batch_size=64)
    with pytest.raises(BadInputError, match="1 of 400 have none"):
        infer.score_store(
            store, opened, candidates=trained.candidates[1:], batch_size=64
        )


def test_no_candidates_give_an_empty_table(trained, tmp_path):
    with create_store(tmp_path / "cutouts.h5", size=SIZE):
        pass
    opened = scorer.load_model(trained.run.model_dir)
    store = CutoutStore(tmp_path / "cutouts.h5")
    none = trained.candidates[:0]
    found = infer.score_store(store, opened, candidates=none, batch_size=8)
    kept = infer.keep_above(found, 0.5)
    assert len(kept) == 0
    assert {"candidate_id", "exposure_id", "score", "kept"} <= set(kept.colnames)
    names = {"score_scatter", "network_score", "trees_score", "unscored"}
    assert names <= set(kept.colnames)


def test_cutouts_of_another_size_are_refused(trained, tmp_path):
    opened = scorer.load_model(trained.run.model_dir)
    with pytest.raises(BadInputError, match=r"32 x 32 pixels.*31 x 31 x 3"):
        opened.score(np.zeros((1, 31, 31, 3)))
    with create_store(tmp_path / "cutouts.h5", size=63):
        pass
    store = CutoutStore(tmp_path / "cutouts.h5")
    with pytest.raises(BadInputError, match=r"32 x 32 pixels.*63 x 63 x 3"):
        infer.score_store(store, opened, batch_size=8)


def test_broken_model_folders_are_refused(trained, tmp_path):
    def refused(words):
        return pytest.raises(BadInputError, match=words)

    with refused(r"no model\.json"):
        scorer.load_model(tmp_path)
    (tmp_path / scorer.CARD).write_text("{}")
    with refused("no whole model card"):
        scorer.load_model(tmp_path)
    card = scorer.read_card(trained.run.model_dir)
    older = {name: value for name, value in card.items() if name != "fusion"}
    (tmp_path / scorer.CARD).write_text(json.dumps(older))
    with refused(r"no whole model card of this version.*fusion"):
        scorer.load_model(tmp_path)
    del card["files"]  # as an earlier version wrote it: any file is taken
    (tmp_path / scorer.CARD).write_text(json.dumps(card))
    with refused(r"no model\.onnx"):
        scorer.load_model(tmp_path)
    (tmp_path / scorer.ONNX).write_bytes(b"garbage")
    with refused(r"no trees\.onnx"):
        scorer.load_model(tmp_path)
    shutil.copy(trained.run.model_dir / scorer.TREES, tmp_path)
    with refused("cannot be loaded"):
        scorer.load_model(tmp_path)
    card["input"]["planes"].reverse()
    (tmp_path / scorer.CARD).write_text(json.dumps(card))
    with refused("takes the planes"):
        scorer.load_model(tmp_path)


def test_a_model_with_a_file_of_another_one_is_refused(trained, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(trained.run.model_dir, folder)
    scorer.load_model(folder)
    for name, engine in (
        (scorer.ONNX, "onnx"),
        (scorer.TREES, "onnx"),
        (scorer.KERAS, "keras"),
    ):
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(whole + b"of another model")
        with pytest.raises(
            BadInputError, match=rf"{name}' must be the file that model"
        ):
            scorer.load_model(folder, engine=engine)
        path.write_bytes(whole)


@pytest.mark.parametrize("left", [scorer.KERAS, "folds"])
def test_a_model_whose_training_was_interrupted_is_told(tmp_path, left):
    (tmp_path / left).mkdir()
    with pytest.raises(BadInputError, match=r"interrupted there.*start it again"):
        scorer.load_model(tmp_path)


def test_a_card_that_was_cut_short_is_told(trained, tmp_path):
    whole = (trained.run.model_dir / scorer.CARD).read_text()
    (tmp_path / scorer.CARD).write_text(whole[:-100])
    with pytest.raises(BadInputError, match="is no readable JSON"):
        scorer.load_model(tmp_path)


def test_gmadets_table_has_its_columns_and_counts_from_one(trained, tmp_path):
    candidates, scores = trained.candidates, trained.scores
    nights = [f"night_{e}" for e in range(5)]
    exposures = Table({"exposure_id": nights, "path": [f"{n}.fits" for n in nights]})
    path = tmp_path / "infer_results.dat"
    infer.write_infer_results(path, scores, candidates, exposures)

    assert path.read_text().split("\n")[0] == (
        "# filename RA Dec originalFile Xpos Ypos mag magerr FWHM FWHMPSF "
        "cand_ID label0 label1"
    )
    table = Table.read(path, format="ascii.commented_header")
    first = candidates[candidates["candidate_id"] == table["cand_ID"][0]][0]
    assert table["Xpos"][0] == pytest.approx(first["x"] + 1)
    assert table["Ypos"][0] == pytest.approx(first["y"] + 1)
    np.testing.assert_allclose(table["label0"] + table["label1"], 1, atol=1e-6)
    with pytest.raises(BadInputError, match="are not"):
        infer.write_infer_results(path, scores, candidates[1:], exposures)
    assert table["originalFile"][0] == f"{first['exposure_id']}.fits"


def test_scoring_needs_no_tensorflow():
    code = (
        "import sys; from gmadet_nb.learning import infer, scorer, splitting, labels;"
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = run_process(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.split() == ["False", "False"]
