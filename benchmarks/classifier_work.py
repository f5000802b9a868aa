"""Train one classifier on one split of one set, and keep what it says of every row."""

import json
import time
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from benchmarks import classifier_kept
from benchmarks.classifier_sets import FOLDER, hidden_transients
from benchmarks.published import RECIPES, train_published
from gmadet_nb.files.rundir import RunDir, atomic_path
from gmadet_nb.files.tables import rows_of
from gmadet_nb.learning import (
    baselines,
    completeness,
    dataset,
    evaluate,
    folds,
    fused,
    infer,
    labels,
    leaks,
    places,
    same_pixels,
    saving,
    score_table,
    splitting,
    train,
)
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.scorer import open_scorer

CUTS = ("S/N cut", "FWHM-ratio cut", "PSF-chi2 cut")
OURS = ("fused", "networks alone", "trees alone")
N_FOLDS = 5
EPOCHS = 30
_COLUMNS = dict(
    zip(OURS, ("score", "network_score", "trees_score"), strict=True),
)


def published(name):
    """Return what a network trained its authors' way is called in the tables."""
    return f"{name} as published"


def repaired(name):
    """Return what the same network is called, trained as ours is: scaled, turned."""
    return f"{name} trained our way"


METHODS = (*CUTS, *OURS, *map(published, RECIPES), *map(repaired, RECIPES))


@dataclass(frozen=True, kw_only=True)
class Split:
    """The labelled candidates of a set, divided with one seed.

    Attributes
    ----------
    name : str
        Of the set.
    seed : int
        Of the division and of all that is trained on it.
    run : gmadet_nb.files.rundir.RunDir
        Where the cutouts are.
    candidates : astropy.table.Table
        All of the run.
    table : astropy.table.Table
        Who is in which part and fold, as ``split.ecsv``.
    """

    name: str
    seed: int
    run: RunDir
    candidates: Table
    table: Table

    @property
    def store(self):
        """The cutouts, open."""
        return CutoutStore(self.run.cutouts_path)

    @property
    def rows(self):
        """The rows that are used."""
        return self.table[np.asarray(self.table["used"], bool)]

    @property
    def numbers(self):
        """The candidates of `rows`, in their order."""
        known = self.candidates
        return known[rows_of(self.rows["candidate_id"], known["candidate_id"])]

    @property
    def model_dir(self):
        """Where our model is kept."""
        return FOLDER / "models" / f"{self.name}_{self.seed}"


def divide(name, run, *, seed, choose=None):
    """Divide a set as 07_dataset does; hidden transients are left out.

    Parameters
    ----------
    name : str
        Of the set.
    run : gmadet_nb.files.rundir.RunDir
        With 01 to 04 done.
    seed : int
    choose : callable, optional
        From the divided candidates to the rows that stay, before folds are made.

    Returns
    -------
    Split
    """
    candidates, store = run.read_table("candidates"), CutoutStore(run.cutouts_path)
    labelled = dataset.gather_labels(
        run.read_table("crossmatch"), labels.read_labels(run.labels_dir)
    )
    own = candidates["candidate_id"][hidden_transients(name, candidates)]
    injected = np.asarray(labelled["label_origin"] == "injected")
    labelled = labelled[injected | ~np.isin(labelled["candidate_id"], own)]
    labelled, _ = same_pixels.keep_one_of_each(labelled, store)
    same = {
        "margin": store.size,
        "pixel_scale": places.typical_pixel_scale(run.read_table("exposures")),
    }
    parts = splitting.split_by_exposure(
        labelled,
        candidates,
        calibration_fraction=0.2,
        test_fraction=0.25,
        validation_fraction=0.15,
        bogus_fraction=0.0,
        rng=np.random.default_rng([seed, 0]),
        **same,
    )
    parts = parts if choose is None else parts[choose(parts)]
    folded = folds.make_folds(
        parts, candidates, n_folds=N_FOLDS, rng=np.random.default_rng([seed, 3]), **same
    )
    table = folds.add_folds(parts, folded)
    leaks.check_leaks(table, candidates, store=store, **same)
    return Split(name=name, seed=seed, run=run, candidates=candidates, table=table)


def how(seed, *, network="small"):
    """Return how our networks are trained here."""
    return train.Training(
        network=network,
        epochs=EPOCHS,
        batch_size=32,
        dropout=0.3,
        patience=15,
        seed=seed,
    )


def scores_of(split, method, *, target_fpr, may_train=True):
    """Return what a method says of every row, from the file where it is kept.

    What is kept of another split, or of other code, is not taken.

    Returns
    -------
    scores : (n,) float array
        One for each of ``split.rows``, real ones at the high end; those of folded rows
        are out of fold where the method is ours.
    known : dict
        ``seconds`` of training, NaN for a cut; ``tpr_own``, what the random split shows
        that a network as published is judged by.
    None instead of both
        If nothing is kept and nothing shall be trained.
    """
    if method in CUTS:
        values = baselines.cuts(split.numbers)[method]
        return np.where(np.isfinite(values), values, -np.inf), {"seconds": np.nan}
    kind = "ours" if method in OURS else method.replace(" ", "_")
    path = FOLDER / "scores" / f"{split.name}_{split.seed}_{kind}.ecsv"
    settings = how(split.seed)
    made_of = classifier_kept.made_of(
        split, kind, settings=settings, target_fpr=target_fpr
    )
    table = classifier_kept.read(path, made_of)
    if table is None and not may_train:
        return None
    if table is None:
        start = time.perf_counter()
        if kind == "ours":
            table = _train_ours(split, target_fpr=target_fpr)
        else:
            table = _train_other(split, method, target_fpr=target_fpr)
        seconds = table.meta.get("seconds", time.perf_counter() - start)
        table.meta |= {"seconds": seconds, "made_of": made_of}
        classifier_kept.write(path, table)
    column = _COLUMNS.get(method, "score")
    scores = score_table.scores_of(split.rows["candidate_id"], table, column)
    names = ("seconds", "tpr_own")
    return scores, {name: table.meta[name] for name in names if name in table.meta}


def _train_ours(split, *, target_fpr):
    """Cross-fit, save the model with its card, and return the scores of all."""
    training, store = how(split.seed), split.store
    start = time.perf_counter()
    model = fused.fit_fused(split.table, store, split.candidates, training)
    seconds = time.perf_counter() - start
    card = saving.save_model(
        split.model_dir, model, store=store, split=split.table, training=training
    )
    scorer = open_scorer(split.model_dir, card)
    scores = infer.score_store(
        store, scorer, candidates=split.candidates, batch_size=512
    )
    known = fused.out_of_fold_table(model)
    inside = rows_of(known["candidate_id"], scores["candidate_id"])
    for name in _COLUMNS.values():
        scores[name][inside] = known[name]
    card |= {"threshold": model.threshold(target_fpr).value, "target_fpr": target_fpr}
    with atomic_path(split.model_dir / "model.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1, default=float))
    scores.meta["seconds"] = seconds
    return scores


def _train_other(split, method, *, target_fpr):
    """Train a network of others on training and validation, and score all rows."""
    rows, meta = split.rows, {}
    name = method.split()[0]
    if method == published(name):
        learn = np.isin(rows["part"], ("training", "validation"))
        score, judges = train_published(name, rows[learn], split.store, seed=split.seed)
        scores = score(rows)
        judge = np.isin(rows["candidate_id"], judges)
        real = np.asarray(rows["label"] == "real")
        threshold = evaluate.choose_threshold(scores[judge & ~real], target_fpr)
        kept = scores[judge & real] >= threshold.value
        meta["tpr_own"] = completeness.rate(int(kept.sum()), len(kept))
    else:
        model, _ = train.train_network(
            split.table, split.store, how(split.seed, network=name)
        )
        scores = _ask(model, split.store, rows["candidate_id"])
    return Table({"candidate_id": rows["candidate_id"], "score": scores}, meta=meta)


def _ask(model, store, ids):
    """Return P(real) of some cutouts by one network, batch by batch."""
    some = np.array_split(ids, 1 + len(ids) // 512)
    return np.concatenate(
        [np.asarray(model(store.read(part), training=False))[:, 0] for part in some]
    )
