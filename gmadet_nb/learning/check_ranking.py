"""Candidates and labels in the order in which a person should look at them."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.score_table import scores_of, with_scores


def rank_candidates(checked, *, threshold, fwhm_ratio_min, fwhm_ratio_max):
    """Sort candidates by score, the best first, and flag the ones kept.

    Kept are those with a score at or above the threshold whose FWHM over that of
    the PSF is within the limits; a FWHM that could not be measured cuts nothing.

    Parameters
    ----------
    checked : astropy.table.Table
        As `gmadet_nb.learning.check_input.join_checked` gives it.

    Returns
    -------
    astropy.table.Table
        The same rows with ``above_threshold``, ``fwhm_ok``, ``kept`` and ``rank``
        (from 1). Those without a score come last.
    """
    if not fwhm_ratio_min < fwhm_ratio_max:
        raise BadParameterError(
            "fwhm_ratio_min must be below fwhm_ratio_max, got "
            f"{fwhm_ratio_min} and {fwhm_ratio_max}."
        )
    # Of equal scores the brighter one first: saturated scores are many.
    snr = np.nan_to_num(np.asarray(checked["snr"], float), nan=-np.inf)
    score = np.nan_to_num(np.asarray(checked["score"], float), nan=-np.inf)
    ranked = checked[np.lexsort((-snr, -score))]
    ratio = np.asarray(ranked["fwhm_ratio"], float)
    inside = (ratio >= fwhm_ratio_min) & (ratio <= fwhm_ratio_max)
    ranked["above_threshold"] = np.asarray(ranked["score"], float) >= threshold
    ranked["fwhm_ok"] = inside | ~np.isfinite(ratio)
    ranked["kept"] = ranked["above_threshold"] & ranked["fwhm_ok"]
    ranked["rank"] = np.arange(1, len(ranked) + 1)
    return ranked


def not_seen(ranked):
    """Leave out candidates judged by a model that trained on their exposure.

    Returns
    -------
    astropy.table.Table
        The others in their order, with a new ``rank`` (from 1).
    """
    left = ranked[~np.asarray(ranked["seen"], bool)]
    left["rank"] = np.arange(1, len(left) + 1)
    return left


def of_the_sky(ranked):
    """Leave out injected sources, which no one will look for on the sky.

    Returns
    -------
    astropy.table.Table
        The others in their order, with a new ``rank`` (from 1).
    """
    left = ranked[~np.asarray(ranked["injected"], bool)]
    left["rank"] = np.arange(1, len(left) + 1)
    return left


def count_kept(ranked):
    """Return how many candidates are left after each cut: a table to show.

    The steps after the cuts say who is judged and shown by what follows; where nothing
    was seen and nothing injected there are none.
    """
    kept = np.asarray(ranked["kept"], bool)
    seen, injected = (np.asarray(ranked[n], bool) for n in ("seen", "injected"))
    steps = {
        "candidates": np.ones(len(ranked), dtype=bool),
        "with a score": np.isfinite(np.asarray(ranked["score"], float)),
        "at or above the threshold": np.asarray(ranked["above_threshold"], bool),
        "and FWHM ratio within its limits: kept": kept,
    }
    if (seen | injected).any():
        steps["kept, by a model that had not seen them"] = kept & ~seen
        steps["kept, not seen and not injected"] = kept & ~seen & ~injected
    return Table(
        [list(steps), [int(rows.sum()) for rows in steps.values()]], names=("step", "n")
    )


def worst(checked, label, *, n):
    """Return up to ``n`` candidate ids whose score is farthest from their label.

    Parameters
    ----------
    checked : astropy.table.Table
        ``candidate_id``, ``label``, ``score``.
    label : {"real", "bogus"}
        Which labels to look at: of the real ones the lowest scores come first, of
        the bogus ones the highest.
    """
    score = np.asarray(checked["score"], float)
    rows = np.flatnonzero((np.asarray(checked["label"]) == label) & np.isfinite(score))
    order = np.argsort(score[rows] if label == "real" else -score[rows], kind="stable")
    return [str(key) for key in checked["candidate_id"][rows[order[:n]]]]


def suspects(split, scores):
    """Rank labelled candidates by how much the model doubts their label.

    Only those that a model has judged which had not seen their exposure, and none of
    the test part: its figures would shine where labels are mended by the model's doubt.

    Parameters
    ----------
    split : astropy.table.Table
        ``candidate_id``, ``label``, ``label_origin``, ``used``.
    scores : astropy.table.Table
        ``candidate_id``, ``score``, ``out_of_fold``. The last is not there where a
        model of another run judges, which has trained on nothing here: then all used
        ones are ranked.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``label``, ``label_origin``, ``score``, ``doubt``
        (|label - score|, 0 to 1), ``rank`` (from 1, most doubted first).
        Candidates without a score are not in it.
    """
    table = with_scores(split[np.asarray(split["used"], bool)], scores)
    if "out_of_fold" in scores.colnames:
        table = table[scores_of(table["candidate_id"], scores, "out_of_fold") == 1]
    table = table["candidate_id", "label", "label_origin", "score"]
    table = table[np.isfinite(table["score"])]
    table["doubt"] = np.abs((table["label"] == "real") - table["score"])
    table = table[np.argsort(-np.asarray(table["doubt"]), kind="stable")]
    table["rank"] = np.arange(1, len(table) + 1)
    return table
