"""What the threshold costs, and on how few bogus it rests, as a warning."""

import numpy as np

from gmadet_nb.learning import evaluate

_LOST = 0.5  # of the real ones, above which most are lost
_FAR_MORE = 0.2  # of the real ones, that another threshold would keep
_LEAST_ABOVE = 3  # bogus that the wanted rate lets pass, below which chance rules


def warn_of_threshold(rows, card):
    """Say in words where the threshold loses most real ones, and what it rests on.

    Parameters
    ----------
    rows : astropy.table.Table
        Of the test part: ``label``, ``score``. Where there are none, as on a new
        night, nothing is said: the model's own run has said it.
    card : dict
        The model's. Where it does not say what the threshold rests on, nothing is
        said of that.

    Returns
    -------
    list of str
    """
    threshold, target_fpr = card["threshold"], card.get("target_fpr", 0.01)
    n_bogus, n_above = (card.get(f"threshold_n_{name}") for name in ("bogus", "above"))
    needed = int(np.ceil(_LEAST_ABOVE / target_fpr))
    few = len(rows) and n_bogus is not None and n_bogus < needed
    words = _lost(rows, threshold, target_fpr, few=few)
    if few:
        above = "" if n_above is None else f", of which it keeps {n_above}"
        words.append(
            f"The threshold rests on {n_bogus} bogus{above}: a handful of others would "
            f"move it. Label more bogus in 06_label, until {needed} or more are "
            "outside the test part, or raise target_fpr in 08_train, which is "
            f"{target_fpr:g}."
        )
    return words


def _lost(rows, threshold, target_fpr, *, few):
    """Say that most real ones are lost, and whether another threshold would not."""
    real, scores = np.asarray(rows["label"] == "real"), np.asarray(rows["score"], float)
    tpr, fpr = evaluate.rates_at(real, scores, threshold).values()
    if not tpr["n"] or tpr["high"] >= 1 - _LOST:
        return []
    text = (
        f"The threshold loses {1 - tpr['value']:.0%} of the real ones of the test part "
        f"({tpr['n'] - tpr['k']} of {tpr['n']})"
    )
    curve = evaluate.roc(real, scores)
    allowed = max(fpr["value"], target_fpr) if fpr["n"] else np.nan
    best = np.max(
        np.asarray(curve["tpr"])[np.asarray(curve["fpr"]) <= allowed], initial=0
    )
    if best < tpr["value"] + _FAR_MORE:
        return [
            f"{text}, and no other would keep many more with as few bogus: label more "
            "of both kinds in 06_label, and look at 10_false_negatives for what the "
            "lost ones have in common."
        ]
    passing = int(allowed * fpr["n"])
    text += (
        f", though another one would keep {best:.0%} of them and let "
        f"{f'no more than {passing}' if passing else 'none'} of its {fpr['n']} bogus "
        "pass"
    )
    if few:
        return [text + ": too few bogus chose it."]
    return [
        f"{text}: the bogus that chose it score higher than those of the test part. "
        "Look at the highest of them in 06_label (label_order set to suspects): some "
        "may be real."
    ]
