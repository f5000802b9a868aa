"""How far labels can be trusted: labelers against themselves and each other."""

from itertools import combinations
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy.stats import norm

from gmadet_nb.learning.completeness import binomial_interval
from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.labels import LABELS, read_lines

# Between two acts that are farther apart than this there was a pause [s].
_PAUSE = 60.0


def labels_by_labeler(folder):
    """Read the labels in force of each labeler.

    Parameters
    ----------
    folder : str or pathlib.Path
        The run's ``labels/``.

    Returns
    -------
    dict
        labeler -> {candidate_id: label}.
    """
    return {
        path.stem: LabelLog(path).labels()
        for path in sorted(Path(folder).glob("*.jsonl"))
    }


def cohen_kappa(first, second):
    """Measure the agreement of two labelers beyond what chance would give.

    kappa = (p_o - p_e) / (1 - p_e), with the share p_o on which they agree and the
    share p_e expected of two who label at random, each with his own frequencies.

    Parameters
    ----------
    first, second : sequences of n str
        What each said of the same candidates.

    Returns
    -------
    kappa, low, high : float
        With its 95 % interval, from the standard error
        sqrt(p_o (1 - p_o) / n) / (1 - p_e); NaN where there are none, or both
        have only ever said one word.

    Notes
    -----
    Source: Cohen 1960, Educational and Psychological Measurement 20, 37.
    """
    first, second = np.asarray(first, dtype=str), np.asarray(second, dtype=str)
    n = len(first)
    if n == 0:
        return np.nan, np.nan, np.nan
    agreed = float(np.mean(first == second))
    chance = sum(float(np.mean(first == w) * np.mean(second == w)) for w in LABELS)
    if chance >= 1:
        return np.nan, np.nan, np.nan
    kappa = (agreed - chance) / (1 - chance)
    error = np.sqrt(agreed * (1 - agreed) / n) / (1 - chance)
    reach = norm.ppf(0.975) * error
    return kappa, max(-1.0, kappa - reach), min(1.0, kappa + reach)


def compare_labelers(folder):
    """Compare each two labelers on the candidates that both have labelled.

    Returns
    -------
    astropy.table.Table
        ``first``, ``second``, ``n_both``, ``agreed`` (share), ``agreed_low``,
        ``agreed_high``, ``kappa``, ``kappa_low``, ``kappa_high``: 95 % intervals.
    """
    rows = []
    for (one, mine), (other, theirs) in combinations(
        labels_by_labeler(folder).items(), 2
    ):
        both = sorted(mine.keys() & theirs.keys())
        same = sum(mine[key] == theirs[key] for key in both)
        kappa = cohen_kappa([mine[k] for k in both], [theirs[k] for k in both])
        rows.append((one, other, len(both), *_share(same, len(both)), *kappa))
    names = ("first", "second", "n_both", "agreed", "agreed_low", "agreed_high")
    names += ("kappa", "kappa_low", "kappa_high")
    return Table(rows=rows or None, names=names, dtype=(str, str, int, *[float] * 6))


def find_disagreements(folder):
    """List the candidates on which labelers differ.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, and a column ``by <labeler>`` for each of them with his word,
        "" where he has said none.
    """
    by_labeler = labels_by_labeler(folder)
    ids = sorted({key for labels in by_labeler.values() for key in labels})
    rows = []
    for key in ids:
        words = [labels.get(key, "") for labels in by_labeler.values()]
        if len({word for word in words if word}) > 1:
            rows.append((key, *words))
    # A person may bear the name of a column.
    names = ["candidate_id", *(f"by {who}" for who in by_labeler)]
    return Table(rows=rows or None, names=names, dtype=[str] * len(names))


def describe_labelers(folder, auto_labels):
    """Describe the work of each labeler.

    Parameters
    ----------
    folder : str or pathlib.Path
    auto_labels : dict
        candidate_id -> automatic label.

    Returns
    -------
    astropy.table.Table
        ``labeler``, ``n_labels`` in force, ``n_changed`` of them against an automatic
        real or bogus, ``n_again`` candidates labelled a second time without being
        told, ``same`` (share of these with the same word), ``same_low``,
        ``same_high`` (95 % interval), ``pace`` (mean time for a label, pauses left
        out) [s].
    """
    rows = []
    for labeler, labels in labels_by_labeler(folder).items():
        lines = read_lines(Path(folder) / f"{labeler}.jsonl")
        changed = sum(
            auto_labels.get(key) in ("real", "bogus") and auto_labels[key] != label
            for key, label in labels.items()
        )
        again = {
            line["candidate_id"]: line["label"]
            for line in lines
            if line["shown"].get("repeat")
        }
        again = {k: word for k, word in again.items() if word and k in labels}
        same = sum(labels[key] == word for key, word in again.items())
        counts = len(labels), changed, len(again)
        rows.append((labeler, *counts, *_share(same, len(again)), _pace(lines)))
    names = ("labeler", "n_labels", "n_changed", "n_again", "same", "same_low")
    names += ("same_high", "pace")
    table = Table(
        rows=rows or None, names=names, dtype=(str, int, int, int, *[float] * 4)
    )
    table["pace"].unit = u.s
    return table


def describe_files(folder):
    """Say which files hold labels, and how many in force each.

    Returns
    -------
    list of str
        A line a labeler.
    """
    lines = [
        f"{Path(folder) / f'{labeler}.jsonl'}: {len(labels)} in force"
        for labeler, labels in labels_by_labeler(folder).items()
    ]
    return lines or [f"No person has labelled anything in {folder} yet"]


def _share(k, n):
    """Return k / n and its 95 % interval, NaN for none."""
    if n == 0:
        return np.nan, np.nan, np.nan
    return k / n, *binomial_interval(k, n)


def _pace(lines):
    """Return the time between the first and the last act over their number [s].

    Of what a person said; pauses and what was taken back are left out.
    """
    times = np.sort(
        [
            line["time"].timestamp()
            for line in lines
            if line["origin"] == "human" and not line["shown"].get("undo")
        ]
    )
    steps = np.diff(times)
    steps = steps[steps < _PAUSE]
    return float(np.mean(steps)) if len(steps) else np.nan
