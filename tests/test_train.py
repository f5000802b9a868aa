import json
import os
import sys
from subprocess import run as run_process

import numpy as np
import pytest
from astropy.table import Table
from toy_cutouts import make_candidates, make_pixels, no_labels, write_store

from gmadet_nb.errors import BadInputError, BadParameterError, StageError
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning import dataset, evaluate, infer, saving, splitting, train
from gmadet_nb.learning.cutouts import CutoutStore, create_store

# Keras 3.15 hands TensorFlow's variables to numpy in a way that numpy 2 deplores.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

SIZE = 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train the small network on five toy exposures of 80 candidates, once."""
    rng = np.random.default_rng(7)
    run = RunDir(tmp_path_factory.mktemp("run"))
    candidates = make_candidates(5, 80, rng=rng)
    write_store(run.cutouts_path, candidates, size=SIZE, rng=rng)
    store = CutoutStore(run.cutouts_path)
    split = splitting.split_by_exposure(
        dataset.gather_labels(candidates, no_labels()),
        candidates,
        calibration_fraction=0.2,
        test_fraction=0.2,
        validation_fraction=0.15,
        bogus_fraction=0.0,
        margin=SIZE,
        pixel_scale=1.0,
        rng=np.random.default_rng(1),
    )
    training = make_training(epochs=12)
    model, history = train.train_network(split, store, training)
    card = saving.save_model(
        run.model_dir, model, history, store=store, split=split, training=training
    )
    scorer = infer.Scorer.from_file(run.model_dir / infer.ONNX, size=SIZE)
    scores = infer.score_store(store, scorer, batch_size=100)
    threshold = saving.threshold_for(split, scores, target_fpr=0.02)
    metrics = evaluate.metrics(split, scores, threshold.value, candidates=candidates)
    card = saving.finish_card(run, card, threshold, metrics)
    return run, store, split, candidates, history, scores, card


def make_training(**changes):
    values = {"network": "small", "epochs": 2, "batch_size": 32, "dropout": 0.2}
    values |= {"patience": 10, "seed": 3}
    return train.Training(**(values | changes))


def test_the_toy_set_is_learned(trained):
    *_, history, _, card = trained

    assert card["metrics"]["test"]["all"]["auc"] > 0.95
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert list(history["epoch"]) == list(range(1, len(history) + 1))


def test_the_best_weights_are_kept(trained):
    _, _, split, _, history, scores, _ = trained
    best = history[history["best"]]
    assert len(best) == 1
    # Of the second half of the 12 wanted: before, the learning rate is high.
    assert best["epoch"][0] > 6
    assert best["val_loss"][0] == history["val_loss"][6:].min()

    # The validation loss worked out anew from the saved model's scores.
    some = evaluate.with_scores(split[split["part"] == "validation"], scores)
    chance = np.where(some["label"] == "real", some["score"], 1 - some["score"])
    weights = train.class_weights(some)
    loss = np.sum(weights * -np.log(np.clip(chance, 1e-7, 1))) / np.sum(weights)
    assert loss == pytest.approx(best["val_loss"][0], rel=0.02, abs=1e-3)


def test_onnx_and_keras_give_the_same_scores(trained, rng):
    run = trained[0]
    pixels = make_pixels(rng.random(40) < 0.5, size=SIZE, rng=rng)
    pixels[0, :20] = np.nan
    pixels[1, ..., :2] = np.nan
    pixels[2] = 5.0
    by_onnx = infer.load_model(run.model_dir).score(pixels)
    by_keras = infer.load_model(run.model_dir, engine="keras").score(pixels)

    assert np.isfinite(by_onnx).all()
    np.testing.assert_allclose(by_onnx, by_keras, atol=saving.ONNX_TOLERANCE)


def test_the_card_says_what_the_model_is(trained):
    run, store, split, _, _, _, card = trained
    on_disk = infer.read_card(run.model_dir)

    assert on_disk == json.loads(json.dumps(card))
    assert on_disk["input"]["planes"] == ["science", "reference", "difference"]
    assert on_disk["input"]["size"] == SIZE
    assert 0 < on_disk["threshold"] <= 1
    assert "calibration part" in on_disk["threshold_how"]
    assert on_disk["training_hash"] == saving.training_hash(split, store)
    used = split[split["used"]]
    assert (
        on_disk["labels_by_origin"]["injected"]["real"]
        == (used["label"] == "real").sum()
    )
    exposures = [set(part["exposures"]) for part in on_disk["parts"].values()]
    assert exposures[0].isdisjoint(exposures[2] | exposures[3])


def test_the_hash_changes_with_a_label_but_not_with_the_order(trained):
    _, store, split, _, _, _, card = trained
    assert saving.training_hash(split[::-1], store) == card["training_hash"]
    other = split.copy()
    row = np.flatnonzero(other["part"] == "training")[0]
    other["label"][row] = "bogus" if other["label"][row] == "real" else "real"
    assert saving.training_hash(other, store) != card["training_hash"]


def test_the_same_seed_trains_the_same_network_in_memory_or_from_disk(
    trained, monkeypatch
):
    _, store, split, *_ = trained
    pixels = store.read(store.candidate_ids[:16])
    in_memory = train.train_network(split, store, make_training(epochs=1))
    monkeypatch.setattr(train, "MEMORY_LIMIT", 0)
    from_disk = train.train_network(split, store, make_training(epochs=1))

    # Threads add up in any order: float32's 1e-7 grows over some ten steps.
    assert from_disk[1]["loss"][0] == pytest.approx(in_memory[1]["loss"][0], rel=1e-3)
    np.testing.assert_allclose(from_disk[0](pixels), in_memory[0](pixels), atol=1e-3)


def test_the_threshold_comes_from_the_calibration_part(trained):
    _, _, split, _, _, scores, _ = trained
    rows = split[split["used"] & (split["label"] == "bogus")]
    mine = rows["candidate_id"][rows["part"] == "calibration"]
    other = scores.copy()
    other["score"] = np.where(np.isin(other["candidate_id"], mine), 0.2, 0.9)
    found = saving.threshold_for(split, other, target_fpr=0.02)

    assert 0.2 < found.value <= 0.9
    assert found.n_above == 0
    only_training = split[split["part"] == "training"]
    with pytest.raises(BadInputError, match="got none"):
        saving.threshold_for(only_training, scores, target_fpr=0.02)


def test_where_every_place_is_seen_all_of_the_calibration_part_chooses(trained):
    _, _, split, candidates, _, scores, _ = trained
    seen = split.copy()
    seen["place_in_training"] = ~np.isin(seen["part"], ("training", "validation"))
    found = saving.threshold_for(seen, scores, target_fpr=0.02)
    assert found.how.startswith("calibration part, at all places")
    metrics = evaluate.metrics(seen, scores, found.value, candidates=candidates)
    test = metrics["test"]
    assert test["headline"]["tpr"]["n"] == test["headline"]["fpr"]["n"] == 0
    assert test["all"]["tpr"]["n"] > 0
    assert "TPR not known" in evaluate.describe(test["headline"], name="Test")


def test_no_training_without_both_kinds(trained):
    _, store, split, *_ = trained
    with pytest.raises(BadInputError, match="10 bogus candidates or more, got 0"):
        train.train_network(split[split["label"] == "real"], store, make_training())
    with pytest.raises(BadParameterError, match="epochs"):
        make_training(epochs=0)


def test_it_trains_without_a_validation_part(trained):
    _, store, split, *_ = trained
    history = train.train_network(
        split[split["part"] != "validation"], store, make_training(epochs=1)
    )[1]
    assert np.isnan(history["val_loss"]).all()
    assert history["best"].all()


def test_classes_of_unequal_size_weigh_the_same():
    rows = Table({"label": ["real"] * 3 + ["bogus"] * 7})
    weights = train.class_weights(rows)
    assert weights[:3].sum() == pytest.approx(weights[3:].sum())
    assert weights.mean() == pytest.approx(1)


def test_scores_are_by_candidate_and_nan_where_there_is_nothing(trained, tmp_path):
    run, store, *_, scores, card = trained
    scorer = infer.load_model(run.model_dir)
    pixels = store.read(store.candidate_ids[:3])
    pixels[1, ..., 2] = np.nan
    with create_store(tmp_path / "cutouts.h5", size=SIZE) as writer:
        writer.append(["x", "y", "z"], "night_0", pixels)
    found = infer.score_store(
        CutoutStore(tmp_path / "cutouts.h5"), scorer, batch_size=2
    )
    kept = infer.keep_above(found, card["threshold"])

    assert list(found["candidate_id"]) == ["x", "y", "z"]
    assert np.isnan(found["score"]).tolist() == [False, True, False]
    np.testing.assert_allclose(
        found["score"][[0, 2]], scores["score"][[0, 2]], atol=1e-5
    )
    assert not kept["kept"][1]
    infer.check_scores(found)
    found["score"] = np.nan
    with pytest.raises(StageError, match="only 0 of 3"):
        infer.check_scores(found)


def test_no_candidates_give_an_empty_table(trained, tmp_path):
    with create_store(tmp_path / "cutouts.h5", size=SIZE):
        pass
    scorer = infer.load_model(trained[0].model_dir)
    found = infer.score_store(
        CutoutStore(tmp_path / "cutouts.h5"), scorer, batch_size=8
    )
    kept = infer.keep_above(found, 0.5)
    assert len(kept) == 0
    assert {"candidate_id", "exposure_id", "score", "kept"} <= set(kept.colnames)


def test_cutouts_of_another_size_are_refused(trained, tmp_path):
    scorer = infer.load_model(trained[0].model_dir)
    with pytest.raises(BadInputError, match=r"32 x 32 pixels.*31 x 31 x 3"):
        scorer.score(np.zeros((1, 31, 31, 3)))
    with create_store(tmp_path / "cutouts.h5", size=63):
        pass
    store = CutoutStore(tmp_path / "cutouts.h5")
    with pytest.raises(BadInputError, match=r"32 x 32 pixels.*63 x 63 x 3"):
        infer.score_store(store, scorer, batch_size=8)


def test_broken_model_folders_are_refused(trained, tmp_path):
    with pytest.raises(BadInputError, match=r"no model\.json"):
        infer.load_model(tmp_path)
    (tmp_path / infer.CARD).write_text("{}")
    with pytest.raises(BadInputError, match="no whole model card"):
        infer.load_model(tmp_path)
    card = infer.read_card(trained[0].model_dir)
    (tmp_path / infer.CARD).write_text(json.dumps(card))
    with pytest.raises(BadInputError, match=r"no model\.onnx"):
        infer.load_model(tmp_path)
    (tmp_path / infer.ONNX).write_bytes(b"garbage")
    with pytest.raises(BadInputError, match="cannot be loaded"):
        infer.load_model(tmp_path)
    card["input"]["planes"].reverse()
    (tmp_path / infer.CARD).write_text(json.dumps(card))
    with pytest.raises(BadInputError, match="takes the planes"):
        infer.load_model(tmp_path)


def test_gmadets_table_has_its_columns_and_counts_from_one(trained, tmp_path):
    _, _, _, candidates, _, scores, _ = trained
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
        "import sys; from gmadet_nb.learning import infer, evaluate, splitting, labels;"
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
