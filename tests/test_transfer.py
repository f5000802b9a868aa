import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from toy_candidates import add_numbers
from toy_cutouts import fold_toy, make_candidates, split_toy, write_store

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning import (
    evaluate,
    folds,
    fused,
    same_exposures,
    saving,
    scorer,
    train,
    transfer,
)
from gmadet_nb.learning.cutouts import CutoutStore, create_store
from gmadet_nb.learning.features import FEATURES

# Keras 3.15 hands TensorFlow's variables to numpy in a way that numpy 2 deplores.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

SIZE = 16


def make_training(**changes):
    values = {"network": "small", "epochs": 2, "batch_size": 16, "dropout": 0.0}
    return train.Training(**(values | {"patience": 10, "seed": 3} | changes))


def make_run(folder, name, *, n_each, n_exposures, n_folds, seed):
    """Make a run as far as 07_dataset, of exposures with a name of their own."""
    rng = np.random.default_rng(seed)
    run = RunDir(folder)
    candidates = make_candidates(n_exposures, n_each, rng=rng)
    add_numbers(candidates, rng=rng)
    for column in ("candidate_id", "exposure_id"):
        candidates[column] = [f"{name}_{key}" for key in candidates[column]]
    write_store(run.cutouts_path, candidates, size=SIZE, rng=rng)
    parts = split_toy(candidates, margin=SIZE)
    found = fold_toy(parts, candidates, margin=SIZE, n_folds=n_folds)
    split = folds.add_folds(parts, found)
    run.write_table("candidates", candidates)
    run.write_table("split", split)
    store = CutoutStore(run.cutouts_path)
    return SimpleNamespace(run=run, candidates=candidates, split=split, store=store)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Train the model of another telescope, once."""
    made = make_run(
        tmp_path_factory.mktemp("other"),
        "other",
        n_each=100,
        n_exposures=5,
        n_folds=2,
        seed=7,
    )
    training = make_training(epochs=10)
    model = fused.fit_fused(made.split, made.store, made.candidates, training)
    card = saving.save_model(
        made.run.model_dir, model, store=made.store, split=made.split, training=training
    )
    saving.finish_card(made.run, card, model.threshold(0.05), {})
    return made


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Make a run with a few labels."""
    return make_run(
        tmp_path_factory.mktemp("own"),
        "own",
        n_each=24,
        n_exposures=5,
        n_folds=3,
        seed=8,
    )


def read(folder, **changes):
    return transfer.read_initial(
        folder, **({"network": "small", "size": SIZE} | changes)
    )


def fit(own, initial, model_dir):
    return transfer.fit_best(
        own.split,
        own.store,
        own.candidates,
        make_training(),
        initial=initial,
        model_dir=model_dir,
        target_fpr=0.05,
    )


def test_few_labels_and_passes_do_better_from_a_trained_model(other, own, tmp_path):
    model, starts = fit(own, read(other.run.model_dir), tmp_path)
    anew, tuned = starts

    assert list(starts["used"]) == [False, True]
    assert starts.meta["initial_model"] == str(other.run.model_dir)
    assert starts.meta["warnings"] == []
    assert tuned["log_loss"] < anew["log_loss"]
    # What learns nothing in 2 passes has a log loss near log 2.
    assert tuned["log_loss"] < 0.5 * np.log(2)
    assert model.initial == str(other.run.model_dir)
    n_real = int((model.folds.rows["label"] == "real").sum())
    assert list(starts["n_real"]) == [n_real, n_real]
    assert transfer.min_loss(model) == tuned["log_loss"]
    words = transfer.describe(starts, target_fpr=0.05)
    assert "trained anew: TPR" in words
    assert words.endswith("lower log loss: from the initial model.")

    training = make_training()
    card = saving.save_model(
        tmp_path, model, store=own.store, split=own.split, training=training
    )
    assert card["initial_model"] == str(other.run.model_dir)
    assert card["training"]["learning_rate"] == train.TUNING_RATE


def test_each_network_and_all_trees_start_from_the_other_run(
    other, own, tmp_path, monkeypatch
):
    initial = read(other.run.model_dir)
    started, sizes = [], []

    def untrained(split, store, training, *, number, start):
        started.append(start)
        model = train.build_network("small", size=SIZE, dropout=0, number=number)
        return model, Table({"fold": [number], "best": [True]})

    def count(features, real, *, seed, weights):
        sizes.append((len(features), int(real.sum())))
        own_count = sizes[len(sizes) - 4][0] if len(sizes) > 3 else 0
        assert (weights > 1).sum() == own_count  # one's own count more
        return fit_trees(features, real, seed=seed, weights=weights)

    fit_trees = fused.fit_trees
    monkeypatch.setattr(fused, "train_network", untrained)
    monkeypatch.setattr(fused, "fit_trees", count)
    fit(own, initial, tmp_path)

    assert started[:3] == [None] * 3
    of_other = [initial.weights[k] for k in (0, 1, 0)]
    assert all(a is b for a, b in zip(started[3:], of_other, strict=True))
    used = other.split[other.split["fold"] >= 0]
    added = (len(used), int((used["label"] == "real").sum()))
    assert np.subtract(sizes[3:], sizes[:3]).tolist() == [list(added)] * 3


def test_the_networks_read_are_those_that_were_saved(other):
    initial = read(other.run.model_dir)
    pixels = other.store.read(other.store.candidate_ids[:8])
    saved = scorer.load_model(other.run.model_dir, engine="keras").predict(pixels)
    for k, weights in enumerate(initial.weights):
        model = train.build_network("small", size=SIZE, dropout=0, number=k)
        model.set_weights(weights)
        np.testing.assert_allclose(
            np.asarray(model(pixels))[:, 0], saved[:, k], atol=1e-6
        )


def test_without_a_model_the_networks_are_trained_anew(own, tmp_path, monkeypatch):
    def untrained(split, store, training, *, number, start):
        model = train.build_network("small", size=SIZE, dropout=0, number=number)
        return model, Table({"fold": [number], "best": [True]})

    monkeypatch.setattr(fused, "train_network", untrained)
    assert read("") is None
    model, starts = fit(own, None, tmp_path)
    assert model.initial == ""
    assert list(starts["start"]) == [transfer.ANEW]
    assert "trained anew" in transfer.describe(starts, target_fpr=0.05)


def test_a_model_without_its_run_gives_its_networks_alone(other, tmp_path, caplog):
    shutil.copytree(other.run.model_dir, tmp_path / "model")
    initial = read(tmp_path / "model")
    assert len(initial.weights) == 2
    assert len(initial.real) == len(initial.features) == 0
    assert "the trees learn from this run's alone" in caplog.text
    assert read(other.run.model_dir).features.shape[1] == len(FEATURES)


def rename(made, name):
    """Return a split of the same candidates whose exposures have other names."""
    split = made.split.copy()
    split["exposure_id"] = [f"{name}_{key}" for key in split["exposure_id"]]
    return split


def test_a_model_that_has_seen_the_exposures_is_left_aside(
    other, tmp_path, monkeypatch
):
    def untrained(split, store, training, *, number, start):
        assert start is None
        model = train.build_network("small", size=SIZE, dropout=0, number=number)
        return model, Table({"fold": [number], "best": [True]})

    monkeypatch.setattr(fused, "train_network", untrained)
    model, starts = fit(other, read(other.run.model_dir), tmp_path)
    assert model.initial == ""
    assert list(starts["start"]) == [transfer.ANEW]
    [text] = starts.meta["warnings"]
    assert "the networks were trained anew" in text
    assert transfer.describe(starts, target_fpr=0.05) == text


def test_exposures_under_other_names_are_known_by_their_pixels(other, own):
    initial = read(other.run.model_dir)
    folded = other.split[np.isin(other.split["part"], folds.FOLDED)]
    n_trained = len(set(folded["exposure_id"]))
    assert len(initial.exposures) == n_trained < 5
    text = same_exposures.why_left_aside(rename(other, "new"), other.store, initial)
    assert f"{n_trained} of the 5 exposures of this run (by pixel)" in text
    assert same_exposures.why_left_aside(own.split, own.store, initial) == ""
    assert same_exposures.why_left_aside(own.split, own.store, None) == ""


def with_pixels(made, path, change):
    """Return a store of the same candidates whose pixels were changed."""
    ids = [str(key) for key in made.split["candidate_id"]]
    with create_store(path, size=SIZE) as writer:
        writer.append(ids, "all", change(made.store.read(ids)))
    return CutoutStore(path)


def test_exposures_that_were_subtracted_anew_are_known_by_their_science(
    other, tmp_path
):
    initial = read(other.run.model_dir)
    anew = with_pixels(other, tmp_path / "a.h5", lambda pixels: pixels * [1, 1, 2])
    text = same_exposures.why_left_aside(rename(other, "new"), anew, initial)
    assert "exposures of this run (by pixel)" in text


def test_two_sets_of_stamps_with_one_name_are_two(other, tmp_path, caplog):
    initial = read(other.run.model_dir)
    # No pixel of one is one of the other: noise has no value twice.
    unlike = with_pixels(other, tmp_path / "b.h5", lambda pixels: pixels + 1)
    assert same_exposures.why_left_aside(other.split, unlike, initial) == ""
    assert "are called as some that" in caplog.text
    assert "they count as others" in caplog.text


def test_without_its_cutouts_a_model_has_seen_exposures_of_the_same_name(
    other, own, tmp_path
):
    shutil.copytree(other.run.model_dir, tmp_path / "model")
    initial = read(tmp_path / "model")
    assert not initial.pixels
    text = same_exposures.why_left_aside(other.split, other.store, initial)
    assert "(by name, as the cutouts of its run are not at hand)" in text
    assert "give the exposures others" in text
    assert same_exposures.why_left_aside(own.split, own.store, initial) == ""


def test_the_card_names_the_model_that_was_tried_and_lost(own, tmp_path):
    meta = {"initial_model": "runs/other/model", "warnings": ["It lost."]}
    starts = Table({"start": [transfer.ANEW], "used": [True]}, meta=meta)
    threshold = evaluate.choose_threshold(np.linspace(0, 1, 400), 0.05)
    parts = {name: {"exposures": []} for name in folds.FOLDED}
    run = RunDir(tmp_path)
    card = saving.finish_card(run, {"parts": parts}, threshold, {}, starts=starts)
    assert card["initial_tried"] == "runs/other/model"
    assert card["warnings"] == ["It lost."]


def test_a_run_of_stamps_is_not_said_to_be_missing(other, tmp_path, caplog):
    run = RunDir(tmp_path)
    shutil.copytree(other.run.model_dir, run.model_dir)
    run.write_table("split", other.split)
    run.write_table("candidates", other.candidates["candidate_id", "exposure_id"])
    caplog.set_level("INFO")
    initial = read(run.model_dir)
    assert len(initial.real) == 0
    assert "has no split and candidates" not in caplog.text
    assert "have no numbers for the trees" in caplog.text


def test_a_model_that_does_not_fit_is_refused(other, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(other.run.model_dir, folder)
    with pytest.raises(BadInputError, match=r"16 x 16 pixels.*Set cutout_size to 16"):
        read(folder, size=32)
    with pytest.raises(BadInputError, match="Set network to 'small'"):
        read(folder, network="vgg6")
    whole = (folder / scorer.KERAS).read_bytes()
    (folder / scorer.KERAS).write_bytes(whole[:-1000])
    with pytest.raises(BadInputError, match=r"must be the file that model\.json"):
        read(folder)
    card = json.loads((folder / scorer.CARD).read_text())
    del card["files"]  # as an earlier version wrote it
    (folder / scorer.CARD).write_text(json.dumps(card))
    with pytest.raises(BadInputError, match="is no whole Keras file"):
        read(folder)
    (folder / scorer.KERAS).write_bytes(whole)
    assert len(read(folder).weights) == 2
    card["input"]["planes"].reverse()
    (folder / scorer.CARD).write_text(json.dumps(card))
    with pytest.raises(BadInputError, match="takes the planes"):
        read(folder)
    with pytest.raises(BadInputError, match=r"no model\.json"):
        read(tmp_path)
