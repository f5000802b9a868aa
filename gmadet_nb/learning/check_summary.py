"""What 10_check_inference ends with: its figures, and the list that goes on."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import calibration_error, part_metrics
from gmadet_nb.learning.labels import join_labels, read_labels


def summarize_check(check, ranked, found, *, threshold, snr_bins, mag_bins):
    """Return what 10_check_inference writes to ``metrics.json``.

    ``parts`` is as `gmadet_nb.learning.part_metrics.metrics` gives it, without
    "out_of_fold" for a model from elsewhere and empty in the workflow "apply";
    ``truth`` counts the known transients.
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
    return {
        "workflow": check.workflow,
        "threshold": threshold,
        "n_candidates": len(ranked),
        "n_above_threshold": int(np.sum(ranked["above_threshold"])),
        "n_kept": int(np.sum(ranked["kept"])),
        "parts": parts,
        "truth": {
            "n_transients": len(set(found["transient_id"])),
            "n_occurrences": len(found),
            "n_detected": int(detected.sum()),
            "n_kept": int(np.sum(found["kept"])),
            "ranks": sorted(int(rank) for rank in found["rank"][detected]),
        },
    }


def calibration(check, *, rng):
    """Return calibration error and Brier score of each part; nothing without labels.

    Parameters
    ----------
    check : gmadet_nb.learning.check_input.CheckInput
    rng : numpy.random.Generator
        Of the bootstrap.

    Returns
    -------
    dict
        As `gmadet_nb.learning.calibration_error.measure` gives it; without
        "out_of_fold" for a model from elsewhere.
    """
    if not len(check.split):
        return {}
    found = calibration_error.measure(check.split, check.scores, rng=rng)
    return {part: found[part] for part in found if check.own or part != "out_of_fold"}


def headline(metrics):
    """Return the main figures of ``metrics.json`` as a table to show."""
    rows = [
        ("candidates", str(metrics["n_candidates"])),
        ("kept", str(metrics["n_kept"])),
        ("threshold", f"{metrics['threshold']:.3f}"),
    ]
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

    The latter with what people say of them; no figure of such a night hangs on that.
    """
    if check.workflow == "apply":
        run.write_table("ranked", join_labels(ranked, read_labels(run.labels_dir)))
    else:
        run.write_table("suspects", suspects)
