"""What 06_label shows: who labels, in which order, and which labels there are."""

import getpass
import re

import numpy as np
from astropy.table import Table

from gmadet_nb.files.tables import as_floats
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.label_order import Known
from gmadet_nb.learning.label_quality import labels_by_labeler
from gmadet_nb.learning.label_session import LabelSession
from gmadet_nb.learning.labels import HUMAN, read_labels


def labeler_name(labeler):
    """Return the labeler's name: the one given, else the login name.

    A login name may hold letters that a file name here may not: they become
    ``_``. Where the system knows no login name it is "anonymous".
    """
    if labeler:
        return labeler
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        login = ""
    return re.sub(r"[^A-Za-z0-9_+-]", "_", login) or "anonymous"


def open_session(
    run, *, labeler, order, page_size, seed, repeat_fraction=0.0, shown=None
):
    """Open a labelling session on the candidates of a run.

    Scores, suspects and the model's threshold are used where `08_train`, `09_infer` and
    `10_check_inference` have written them, and do not have to be there.

    Parameters
    ----------
    run : gmadet_nb.files.rundir.RunDir
        The run.
    labeler : str
        Name of the labeler; "" for the login name.
    order : str
        One of `gmadet_nb.learning.label_order.ORDERS`; in "auto" those come first whose
        label is more likely wrong than right.
    page_size : int
        Candidates on a page.
    seed : int
        Of the order "random", and of what is shown again.
    repeat_fraction : float
        Share of a page that is shown a second time.
    shown : Filter, optional

    Returns
    -------
    session : LabelSession
        Its log is ``labels/<labeler>.jsonl``.
    captions : dict
        candidate_id -> S/N, magnitude, FWHM ratio and score in two short lines.
    """
    candidates = run.read_table("candidates")
    crossmatch = run.read_table("crossmatch")
    scored = run.read_table("scores") if run.has_table("scores") else Table()
    scores = _scores(scored, "score") or _scores(candidates, "survey_score")
    name = labeler_name(labeler)
    log = LabelLog(run.label_path(name))
    by_labeler = labels_by_labeler(run.labels_dir)
    known = Known(
        others={k for who, said in by_labeler.items() if who != name for k in said},
        auto_labels=automatic_labels(crossmatch),
        scores=scores,
        threshold=_read_threshold(run, scored),
        suspects=_suspects(run, order),
        features=_features(candidates) if order == "query" else {},
    )
    if shown is not None:
        labels = label_table(crossmatch, read_labels(run.labels_dir))
        candidates = shown.keep(candidates, labels)
    session = LabelSession(
        candidates,
        log,
        order=order,
        page_size=page_size,
        rng=np.random.default_rng([seed, 3]),
        known=known,
        repeat_fraction=repeat_fraction,
    )
    return session, make_captions(candidates, scores)


def _suspects(run, order):
    """Return the candidates that `10_check_inference` doubts, most doubted first."""
    if not run.has_table("suspects"):
        return ()
    table = run.read_table("suspects")
    if order == "auto":
        table = table[as_floats(table["doubt"]) > 0.5]
    return tuple(map(str, table["candidate_id"]))


def _scores(table, name):
    """Return candidate_id -> score; empty where the table has no such column."""
    if name not in table.colnames:
        return {}
    columns = table["candidate_id", name]
    return {str(key): float(score) for key, score in columns.iterrows()}


def _read_threshold(run, scored):
    """Return the threshold of the run's own model, else that of its scores, or 0.5."""
    card = run.model_dir / "model.json"
    if card.is_file():
        return float(run.read_json(card)["threshold"])
    # A new night is scored by the model of another run.
    return float(scored["threshold"][0]) if "threshold" in scored.colnames else 0.5


def _features(candidates):
    """Return candidate_id -> the numbers by which candidates are unlike each other."""
    names = ("snr", "psf_chi2", "fwhm", "psf_fwhm", "elongation")
    snr, chi2, fwhm, psf_fwhm, elongation = (_numbers(candidates, n) for n in names)
    with np.errstate(all="ignore"):
        columns = [
            np.log(np.abs(snr)),
            np.log(chi2),
            np.log(fwhm / psf_fwhm),
            elongation,
            _numbers(candidates, "peak_to_flux"),
            np.arcsinh(_numbers(candidates, "reference_snr")),
        ]
    rows = np.column_stack(columns)
    return {
        str(key): row for key, row in zip(candidates["candidate_id"], rows, strict=True)
    }


def _numbers(candidates, name):
    """Return a column as (n,) floats, NaN where it is masked or not there."""
    if name not in candidates.colnames:
        return np.full(len(candidates), np.nan)
    return as_floats(candidates[name])


def automatic_labels(crossmatch):
    """Return candidate_id -> automatic label, those without one left out."""
    columns = crossmatch["candidate_id", "auto_label"]
    return {str(key): str(label) for key, label in columns.iterrows() if key and label}


def make_captions(candidates, scores):
    """Return candidate_id -> two short lines: S/N and magnitude, then width and score.

    The width is the FWHM over that of the PSF.
    """
    captions = {}
    snr, mag, fwhm, psf_fwhm = (
        _numbers(candidates, name) for name in ("snr", "mag", "fwhm", "psf_fwhm")
    )
    ids = map(str, candidates["candidate_id"])
    for key, s, m, ratio in zip(ids, snr, mag, fwhm / psf_fwhm, strict=True):
        score = scores.get(key, np.nan)
        said = (
            (s, f"S/N {s:.1f}" if s < 9.95 else f"S/N {s:.0f}"),
            (m, f"{m:.1f} mag"),
            (ratio, f"width {ratio:.1f}"),
            (score, f"score {score:.2f}"),
        )
        first, second = (
            " · ".join(text for value, text in some if np.isfinite(value))
            for some in (said[:2], said[2:])
        )
        captions[key] = "\n".join(filter(None, (first, second)))
    return captions


def label_table(crossmatch, human_labels):
    """Return one row a candidate with the label in force and where it is from.

    Parameters
    ----------
    crossmatch : astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``auto_label``, ``auto_origin``.
    human_labels : astropy.table.Table
        ``candidate_id``, ``label``, ``labeler``: a person's word counts first.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``label`` (one of `LABEL_WORDS`),
        ``origin`` ("human:<labeler>", "injected", "unmatched", "recurrent",
        "moving", "catalog", "").
    """
    said = {
        str(key): (str(label), f"{HUMAN}{who}")
        for key, label, who in human_labels[
            "candidate_id", "label", "labeler"
        ].iterrows()
    }
    rows = {}
    columns = ("candidate_id", "exposure_id", "auto_label", "auto_origin")
    for key, exposure_id, label, origin in crossmatch[columns].iterrows():
        if not key:
            continue
        if label == "ambiguous" or str(key) not in rows:
            automatic = (str(label), str(origin))
            rows[str(key)] = (str(exposure_id), *said.get(str(key), automatic))
    names = ("candidate_id", "exposure_id", "label", "origin")
    return Table(
        rows=[(key, *row) for key, row in rows.items()] or None,
        names=names,
        dtype=(str,) * 4,
    )


def count_labels(labels):
    """Count candidates by label and origin: a table to show, the largest first."""
    pairs = list(zip(labels["label"], labels["origin"], strict=True))
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    rows = [
        (label or "(none)", origin or "(none)", n)
        for (label, origin), n in sorted(counts.items(), key=lambda item: -item[1])
    ]
    return Table(
        rows=rows or None, names=("label", "origin", "n"), dtype=(str, str, int)
    )


def draw_sample(labels, words, n, *, rng):
    """Return up to ``n`` candidate ids, at random, whose label is one of ``words``.

    They stand in the order of the table, so that those of one exposure are
    together.
    """
    chosen = np.flatnonzero(np.isin(np.asarray(labels["label"]).astype(str), words))
    some = np.sort(rng.permutation(chosen)[:n])
    return [str(key) for key in labels["candidate_id"][some]]
