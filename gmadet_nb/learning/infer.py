"""Score cutouts with a saved model, through ONNX Runtime."""

import logging

import numpy as np
from astropy.table import Table, join

from gmadet_nb.errors import BadInputError, StageError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.files.tables import rows_of
from gmadet_nb.learning.cutouts import PLANES
from gmadet_nb.learning.features import candidate_features
from gmadet_nb.learning.scorer import check_size
from gmadet_nb.learning.unscored import count_unscored
from gmadet_nb.progress import Ticker

logger = logging.getLogger(__name__)

# gmadet's columns, in its order.
INFER_RESULTS = (
    "filename RA Dec originalFile Xpos Ypos mag magerr FWHM FWHMPSF "
    "cand_ID label0 label1"
)


def score_store(store, scorer, *, candidates=None, batch_size):
    """Score every cutout of a store, batch by batch.

    Parameters
    ----------
    store : CutoutStore
    scorer : gmadet_nb.learning.scorer.Scorer
    candidates : astropy.table.Table, optional
        Their numbers, joined by ``candidate_id``; a model with trees needs them.
    batch_size : int
        Cutouts in memory at a time.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``exposure_id`` and the columns of `Scorer.judge`, in the
        order of the store. A score is NaN where ``unscored`` is not "".
    """
    check_size(scorer, (store.size, store.size, len(PLANES)))
    features = None
    if scorer.needs_features:
        features = _features_of(store, candidates)
    parts = [scorer.judge_nothing()]
    ticker, start = Ticker(len(store), "cutouts scored"), 0
    for ids, pixels in store.iterate(batch_size):
        rows = slice(start, start + len(ids))
        parts.append(scorer.judge(pixels, None if features is None else features[rows]))
        start += len(ids)
        ticker.tick(len(ids))
    ticker.close()
    table = Table(
        [store.candidate_ids, store.exposure_ids],
        names=("candidate_id", "exposure_id"),
        dtype=(str, str),
    )
    for name in parts[0]:
        table[name] = np.concatenate([part[name] for part in parts])
    why = count_unscored(table["unscored"])
    if why:
        logger.warning(
            "%d of %d cutouts have nothing to judge and get no score: %s.",
            sum(why.values()),
            len(store),
            ", ".join(f"{reason} {n}" for reason, n in why.items()),
        )
    return table


def _features_of(store, candidates):
    """Return the numbers of the candidates of a store, in its order."""
    if candidates is None:
        raise BadInputError(
            "This model judges by the numbers of the candidates, too: give their "
            "table. Run 03_detect."
        )
    rows = rows_of(store.candidate_ids, candidates["candidate_id"], absent=-1)
    missing = np.asarray(store.candidate_ids)[rows < 0]
    if len(missing):
        raise BadInputError(
            f"Every cutout must have its candidate in the candidates table; "
            f"{len(missing)} of {len(store)} have none, the first is "
            f"{str(missing[0])!r}. Run 03_detect and 04_cutouts again."
        )
    return candidate_features(candidates)[rows]


def keep_above(scores, threshold):
    """Add the threshold and what it keeps; candidates without a score are not kept.

    Parameters
    ----------
    scores : astropy.table.Table
        From `score_store`; not changed.
    threshold : float
        On the score.

    Returns
    -------
    astropy.table.Table
        The same rows with ``threshold`` and ``kept``.
    """
    table = scores.copy()
    table["threshold"] = float(threshold)
    # As float64: a threshold rounded to float32 could lie on the other side.
    table["kept"] = np.asarray(table["score"], float) >= threshold
    return table


def check_scores(scores):
    """Raise if there are candidates and hardly any could be scored.

    Parameters
    ----------
    scores : astropy.table.Table
        With ``score``.
    """
    n_scored = int(np.isfinite(np.asarray(scores["score"], float)).sum())
    if len(scores) and n_scored < 0.5 * len(scores):
        raise StageError(
            f"At least half of the candidates must have pixels to judge, only "
            f"{n_scored} of {len(scores)} have. Look at the differences of 03_detect."
        )


def write_infer_results(path, scores, candidates, exposures):
    """Write gmadet's ``infer_results.dat``.

    Positions count from 1, as gmadet's do; ``label1`` is the score, ``label0``
    1 minus it (both nan without a score).

    Parameters
    ----------
    path : str or pathlib.Path
    scores : astropy.table.Table
        ``candidate_id``, ``score``.
    candidates, exposures : astropy.table.Table
        The run's tables.

    Returns
    -------
    astropy.table.Table
        What was written.
    """
    columns = ["candidate_id", "exposure_id", "x", "y", "ra", "dec", "mag", "mag_err"]
    rows = join(
        scores["candidate_id", "score"],
        candidates[[*columns, "fwhm", "psf_fwhm"]],
        keys="candidate_id",
        metadata_conflicts="silent",
    )
    rows = join(
        rows,
        exposures["exposure_id", "path"],
        keys="exposure_id",
        metadata_conflicts="silent",
    )
    if len(rows) != len(scores):
        raise BadInputError(
            f"Every scored candidate must be in the candidates table and its exposure "
            f"in the exposures table; {len(scores) - len(rows)} of {len(scores)} are "
            "not. Run 03_detect and 04_cutouts again."
        )
    rows.sort("candidate_id")
    real = np.asarray(rows["score"], float)
    values = [
        rows["candidate_id"],
        rows["ra"],
        rows["dec"],
        rows["path"],
        np.asarray(rows["x"]) + 1,
        np.asarray(rows["y"]) + 1,
        *(
            rows[name]
            for name in ("mag", "mag_err", "fwhm", "psf_fwhm", "candidate_id")
        ),
        1 - real,
        real,
    ]
    table = Table(values, names=INFER_RESULTS.split())
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.commented_header")
    return table
