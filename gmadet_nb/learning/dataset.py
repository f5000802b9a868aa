"""From labels to a data set: which candidates train, and as what."""

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.crossfit import choosing_rows
from gmadet_nb.learning.folds import FOLDED
from gmadet_nb.learning.labels import HUMAN

PARTS = ("training", "validation", "calibration", "test")


KNOWN_ARE = ("left out", "real")
_LABEL_COLUMNS = ("label", "label_origin")
_NOT_MIXED = (
    "in a class either all labels are such or none, and the classes count the same in "
    "sum"
)
_MORE = (
    "Label more {fewer} ones in 06_label; a run with exposures can make more, real "
    "ones in 02_simulate, bogus ones by label_unmatched_as_bogus in 04_cutouts."
)


def gather_labels(crossmatch, human_labels, *, known_are="left out"):
    """Collect the label of every candidate that can train.

    What a person says counts before what the injection says. Out of the data
    set stay: candidates without a label, "unsure", "ambiguous" and "recurrent"
    ones, and those that the crossmatch names with two different labels. What lies on a
    known variable, minor planet or transient is real or left out, never bogus.

    Parameters
    ----------
    crossmatch : astropy.table.Table
        ``candidate_id`` ("" for a source not found), ``exposure_id``,
        ``auto_label``, ``auto_origin``.
    human_labels : astropy.table.Table
        ``candidate_id``, ``label``, ``labeler``: one row a candidate, as
        `gmadet_nb.learning.labels.read_labels` gives it.
    known_are : str
        What candidates are whose ``auto_label`` is "known": one of `KNOWN_ARE`.

    Returns
    -------
    astropy.table.Table
        ``candidate_id``, ``exposure_id``, ``label`` ("real" or "bogus"),
        ``label_origin`` ("injected", "unmatched", "catalog" or "human:<labeler>"), in
        the order of the crossmatch.

    Raises
    ------
    BadParameterError
        If ``known_are`` is none of its words.
    """
    if known_are not in KNOWN_ARE:
        raise BadParameterError(
            f"known_are must be one of {', '.join(KNOWN_ARE)}, got {known_are!r}."
        )
    said = {
        key: (label, f"{HUMAN}{who}")
        for key, label, who in human_labels[
            "candidate_id", "label", "labeler"
        ].iterrows()
    }
    automatic, exposure = {}, {}
    columns = ("candidate_id", "exposure_id", "auto_label", "auto_origin")
    for key, exposure_id, label, origin in crossmatch[columns].iterrows():
        if key:
            automatic.setdefault(str(key), set()).add((str(label), str(origin)))
            exposure[str(key)] = str(exposure_id)
    rows = []
    for key, found in automatic.items():
        label, origin = next(iter(found)) if len(found) == 1 else ("", "")
        if label == "known" and known_are == "real":
            label = "real"
        label, origin = said.get(key, (label, origin))
        if label in ("real", "bogus"):
            rows.append((key, exposure[key], str(label), str(origin)))
    names = ("candidate_id", "exposure_id", "label", "label_origin")
    return Table(rows=rows or None, names=names, dtype=(str,) * 4)


def idle_weights(split, *, human_weight, unmatched_weight, catalog_weight):
    """Say in words which weights of origins change nothing in training.

    Real and bogus count the same in sum, whatever their weights: a weight moves
    something only where labels of its origin stand beside others of their class.
    Those of the test part train nothing and do not count.

    Parameters
    ----------
    split : astropy.table.Table
        With ``label``, ``label_origin``, ``part``, ``used``.
    human_weight, unmatched_weight, catalog_weight : float
        As for `gmadet_nb.learning.weights.weigh_origins`.

    Returns
    -------
    list of str
        A sentence for each weight other than 1 that has no effect.
    """
    rows = split[np.asarray(split["used"], bool) & np.isin(split["part"], FOLDED)]
    label, origin = (np.asarray(rows[name]).astype(str) for name in _LABEL_COLUMNS)
    groups = {
        "human_weight": (human_weight, np.char.startswith(origin, HUMAN)),
        "unmatched_weight": (unmatched_weight, origin == "unmatched"),
        "catalog_weight": (catalog_weight, origin == "catalog"),
    }
    words = []
    for name, (weight, some) in groups.items():
        mixed = [len(set(some[label == kind])) == 2 for kind in ("real", "bogus")]
        if weight != 1 and not any(mixed):
            why = _NOT_MIXED if some.any() else "there is no such label"
            words.append(f"{name}, which is {weight:g}, changes nothing: {why}.")
    return words


def check_folds(folds, *, min_each=10):
    """Raise if a model would have too few real or bogus candidates to train on.

    Parameters
    ----------
    folds : gmadet_nb.learning.folds.Folds
    min_each : int
        Real and bogus candidates that each model needs.

    Raises
    ------
    BadInputError
        It says how many there are in all or, where that would do, names the fold and
        its exposures.
    """
    real = np.asarray(folds.rows["label"] == "real")
    n_real, n_bogus = int(real.sum()), int((~real).sum())
    if min(n_real, n_bogus) < min_each:
        fewer = "real" if n_real < n_bogus else "bogus"
        raise BadInputError(
            f"Each model must train on {min_each} real and {min_each} bogus "
            f"candidates or more, and outside the test part there are {n_real} real "
            f"and {n_bogus} bogus in all. "
            + _MORE.format(fewer=fewer if n_real != n_bogus else "real and bogus")
        )
    for k in range(folds.n_folds):
        trained = folds.trained_on(k)
        for name, some in (("real", real), ("bogus", ~real)):
            n = int((trained & some).sum())
            if n < min_each:
                exposures = sorted(set(folds.rows["exposure_id"][folds.held_out(k)]))
                raise BadInputError(
                    f"Each model must train on {min_each} {name} candidates or more, "
                    f"and the one that does not see {', '.join(exposures[:6])} has "
                    f"{n}: most {name} ones are there. Inject or label more in other "
                    "exposures, or set another seed or n_folds."
                )


def check_trainable(split, *, target_fpr=0.01, min_each=10):
    """Raise if the split cannot train; return in words what it is too small for.

    Parameters
    ----------
    split : astropy.table.Table
        From `gmadet_nb.learning.splitting.split_by_exposure`.
    target_fpr : float
        False-positive rate that the threshold will be chosen for.
    min_each : int
        Least number of real and of bogus candidates to train on.

    Returns
    -------
    list of str
        One sentence a shortage; empty if there is none.

    Raises
    ------
    BadInputError
        If the training part has too few of a class.
    """
    counts = {row["part"]: row for row in count_parts(split)}
    for kind in ("real", "bogus"):
        n = counts["training"][f"n_{kind}"]
        if n < min_each:
            raise BadInputError(
                f"The training part must have {min_each} {kind} candidates or more, "
                f"got {n}. Inject more in 02_simulate (real), label more in 06_label "
                "or set label_unmatched_as_bogus in 04_cutouts (bogus)."
            )
    rows = split[np.asarray(split["used"], bool)]
    test = np.asarray(rows["part"] == "test")
    new = ~np.asarray(rows["place_in_training"], bool)
    chooses = choosing_rows(rows[~test], target_fpr=target_fpr)
    return [
        *_shortage("folds have", rows[~test], chooses, target_fpr, steady=10),
        *_shortage("test part has", rows[test], new[test], target_fpr, steady=3),
    ]


def _shortage(what, rows, counted, target_fpr, *, steady):
    """Say in words what is missing; bogus are ``counted`` where they judge."""
    bogus = np.asarray(rows["label"] == "bogus")
    n_real, n_bogus = int((~bogus).sum()), int(bogus.sum())
    if not n_real or not n_bogus:
        return [f"The {what} {n_real} real and {n_bogus} bogus."]
    n = int((bogus & counted).sum())
    some = f"The {what} {n} bogus"
    some += f" at places that no training has seen, of {n_bogus}" * (n < n_bogus)
    if n < 3 / target_fpr:
        return [
            f"{some}; to show a false-positive rate of {target_fpr:.1%} takes "
            f"{int(np.ceil(3 / target_fpr))} or more."
        ]
    if n < steady / target_fpr:
        n_steady = round(steady / target_fpr)
        return [f"{some}; the threshold is steady only above {n_steady}."]
    return []


def count_parts(split):
    """Count the candidates of each part, used and left out.

    Returns
    -------
    astropy.table.Table
        One row a part: ``part``, ``n_exposures``, ``n_real``, ``n_bogus`` (used
        ones), ``n_place_in_training``, ``n_left_out``.
    """
    rows = []
    for part in PARTS:
        here = split[split["part"] == part]
        used = here[np.asarray(here["used"], bool)]
        rows.append(
            (
                part,
                len(set(used["exposure_id"])),
                int((used["label"] == "real").sum()),
                int((used["label"] == "bogus").sum()),
                int(np.sum(used["place_in_training"])),
                len(here) - len(used),
            )
        )
    names = ["part", "n_exposures", "n_real", "n_bogus"]
    return Table(rows=rows, names=[*names, "n_place_in_training", "n_left_out"])
