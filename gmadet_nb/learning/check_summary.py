"""What 10_check_inference ends with: its figures, and the list that goes on."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import calibration_error, part_metrics
from gmadet_nb.learning.labels import read_labels
from gmadet_nb.learning.own_run import name_of
from gmadet_nb.learning.ranked_list import ranked_list


def summarize_check(check, ranked, found, *, threshold, snr_bins, mag_bins):
    """Return what 10_check_inference writes to ``metrics.json``.

    ``parts`` is as `gmadet_nb.learning.part_metrics.metrics` gives it, without
    "out_of_fold" for a model from elsewhere and empty in the workflow "apply";
    ``truth`` counts the known transients; ``expected_false`` is of "apply" alone.
    """
    parts = {}
    if len(check.split):
        parts = part_metrics.metrics(
            check.split,
            check.scores,
            threshold,
            candidates=check.candidates,
            snr_bins=snr_bins,
            mag_bins=mag_bins,
        )
    if not check.own:
        parts.pop("out_of_fold", None)
    detected = np.asarray(found["detected"], bool)
    apply = check.workflow == "apply"
    return {
        "workflow": check.workflow,
        "model": name_of(check.card),
        "threshold": threshold,
        "n_candidates": len(ranked),
        "n_above_threshold": int(np.sum(ranked["above_threshold"])),
        "n_kept": int(np.sum(ranked["kept"])),
        "expected_false": expect_false(ranked, check.card) if apply else None,
        "parts": parts,
        "truth": {
            "n_transients": len(set(found["transient_id"])),
            "n_occurrences": len(found),
            "n_detected": int(detected.sum()),
            "n_kept": int(np.sum(found["kept"])),
            "ranks": sorted(int(rank) for rank in found["rank"][detected]),
        },
    }


def expect_false(ranked, card):
    """Say how many at or above the threshold on a new night are expected bogus.

    What is refused is bogus but for a few, and these are the share 1 - FPR of all
    bogus: the others pass, FPR / (1 - FPR) of as many. The cut by width, which comes
    after, takes an unknown share of them.

    Parameters
    ----------
    ranked : astropy.table.Table
        From `gmadet_nb.learning.check_ranking.rank_candidates`.
    card : dict
        The model's card: its ``target_fpr``, and the FPR of its test part.

    Returns
    -------
    dict
        ``n_refused``, ``fpr`` (wanted), ``value``, ``low`` and ``high`` (by the 95%
        interval of the test part's FPR; None where it had no bogus), ``words``.
    """
    above = np.asarray(ranked["above_threshold"], bool)
    n_refused = int(np.sum(np.isfinite(np.asarray(ranked["score"], float)) & ~above))
    n_above = int(above.sum())
    fpr = float(card.get("target_fpr", 0.01))

    def pass_by(rate):
        return min(n_above, n_refused * rate / (1 - rate)) if rate < 1 else n_above

    found = {"n_refused": n_refused, "fpr": fpr, "value": pass_by(fpr)}
    found |= {"low": None, "high": None}
    words = (
        f"about {found['value']:.0f} of the {n_above} at or above the threshold, "
        f"before the cut by width: the threshold lets {fpr:.1%} of bogus pass, and "
        f"{n_refused} were refused"
    )
    measured = (card.get("metrics") or {}).get("test", {}).get("all", {}).get("fpr")
    if measured and measured["n"]:
        found |= {end: pass_by(measured[end]) for end in ("low", "high")}
        words += (
            f"; by the model's test part, in which {measured['k']} of {measured['n']} "
            f"bogus passed, {found['low']:.0f} to {found['high']:.0f}"
        )
    return found | {"words": words}


def calibration(check, *, seed):
    """Return calibration error and Brier score of each part; nothing without labels.

    Parameters
    ----------
    check : gmadet_nb.learning.check_input.CheckInput
    seed : int
        Of the draws: that of 08_train gives its figures.

    Returns
    -------
    dict
        As `gmadet_nb.learning.calibration_error.measure` gives it; without
        "out_of_fold" for a model from elsewhere.
    """
    if not len(check.split):
        return {}
    found = calibration_error.measure(check.split, check.scores, seed=seed)
    return {part: found[part] for part in found if check.own or part != "out_of_fold"}


def headline(metrics):
    """Return the main figures of ``metrics.json`` as a table to show."""
    rows = [
        ("candidates", str(metrics["n_candidates"])),
        ("kept", str(metrics["n_kept"])),
        ("threshold", f"{metrics['threshold']:.3f}"),
    ]
    if metrics["expected_false"]:
        words = metrics["expected_false"]["words"]
        rows.append(("expected to be bogus", words))
    for selection, words in (("headline", "new places"), ("all", "all")):
        figures = metrics["parts"].get("test", {}).get(selection)
        for name in ("tpr", "fpr") if figures else ():
            found = figures[name]
            value = "unknown"
            if found["n"]:
                value = f"{found['value']:.3f}"
                value += f" ({found['low']:.3f} to {found['high']:.3f})"
            rows.append((f"test part, {words}: {name}", f"{value}, n {found['n']}"))
    if metrics["truth"]["n_occurrences"]:
        truth = metrics["truth"]
        text = f"{truth['n_detected']} detected, {truth['n_kept']} kept"
        rows.append((f"{truth['n_occurrences']} known transients", text))
    return Table(rows=rows, names=("figure", "value"))


def write_list(run, check, ranked, suspects):
    """Write the list that the workflow ends with: suspects, or ranked candidates.

    The latter with what people say of them. No figure of such a night hangs on that but
    the count of known objects, of which those called bogus are none.
    """
    if check.workflow == "apply":
        run.write_table("ranked", ranked_list(ranked, read_labels(run.labels_dir)))
    else:
        run.write_table("suspects", suspects)
