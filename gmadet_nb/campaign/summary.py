"""The figures of a run that a person asks for first, in words."""

import math
from dataclasses import dataclass

import numpy as np

from gmadet_nb.campaign.manifest import Manifest
from gmadet_nb.campaign.steps.examine import DEFAULT_ZERO_POINT
from gmadet_nb.imaging.kinds import count_kinds
from gmadet_nb.learning.check_simulation import fit_table, recovered
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.labels import LABELS
from gmadet_nb.progress import format_seconds

# Sources that no person would miss: the faint ones below are rejected with the noise.
_BRIGHT_SNR = 10


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the summary.

    Attributes
    ----------
    name : str
        What it is.
    value : str
        The number in words, with its unit.
    note : str
        Interval, counts or reasons behind it.
    """

    name: str
    value: str
    note: str = ""


def key_figures(run):
    """Return the figures that a run has so far.

    Parameters
    ----------
    run : gmadet_nb.files.rundir.RunDir

    Returns
    -------
    list of Figure
        In the order of the workflow; those whose table is not there yet are
        left out.
    """
    metrics = run.read_json(run.metrics_path) if run.metrics_path.is_file() else {}
    parts = (
        _exposures(run),
        _injected(run),
        _candidates(run),
        _labels(run),
        _classifier(run, metrics),
        _kept(metrics),
        _transients(metrics),
    )
    return [figure for part in parts for figure in part]


def summary(campaign):
    """Return the lines that end ``make demo``: figures, seconds and places.

    Parameters
    ----------
    campaign : gmadet_nb.campaign.plan.Campaign

    Returns
    -------
    list of str
    """
    run = campaign.run
    figures = key_figures(run)
    width = max((len(figure.name) for figure in figures), default=0)
    lines = [f"{run.root} ({campaign.workflow})"]
    for figure in figures:
        first, *more = figure.note.split("\n")
        line = f"  {figure.name:{width}}  {figure.value}"
        lines.append(line + f"  ({first})" * bool(first))
        lines += [f"  {'':{width}}  {text}" for text in more]
    entries = Manifest(run).entries
    times = {
        s.name: entries[s.name]["seconds"] for s in campaign.stages if s.name in entries
    }
    lines.append(f"  {'seconds':{width}}  {sum(times.values()):.0f} in all")
    lines += [f"  {'':{width}}  {name} {value:.1f}" for name, value in times.items()]
    lines.append(f"  {'report':{width}}  {run.report_path}")
    lines.append(f"  {'notebooks':{width}}  {run.notebooks_dir}")
    return lines


def total_time(campaign):
    """Return what the stages of a campaign took in all, in words."""
    entries = Manifest(campaign.run).entries
    return format_seconds(
        sum(entries[s.name]["seconds"] for s in campaign.stages if s.name in entries)
    )


def in_words(fraction):
    """Write a fraction with its interval, such as ``93.1 %`` and ``90.1 to 95.5``.

    Parameters
    ----------
    fraction : dict
        ``value``, ``low``, ``high``, ``k`` and ``n``.

    Returns
    -------
    value, note : str
    """
    if not fraction["n"]:
        return "unknown", "none to count"
    return (
        f"{100 * fraction['value']:.1f} %",
        f"{100 * fraction['low']:.1f} to {100 * fraction['high']:.1f} % at 95 % "
        f"confidence, {fraction['k']} of {fraction['n']}",
    )


def _exposures(run):
    if not run.has_table("exposures"):
        return []
    table = run.read_table("exposures")
    aside = table[~np.asarray(table["used"], bool)]
    reasons = [f"{row['exposure_id']} set aside: {row['reason']}" for row in aside]
    used = len(table) - len(aside)
    note = "\n".join([f"{len(aside)} set aside", *reasons])
    figures = [
        Figure(name="exposures used", value=f"{used} of {len(table)}", note=note)
    ]
    return figures + _gain(table)


def _gain(exposures):
    """Say where a measured gain was taken in place of the header's."""
    if "gain_source" not in exposures.colnames:
        return []
    taken = [row for row in exposures if str(row["gain_source"]).startswith("measured")]
    return [
        Figure(
            name="gain",
            value=f"{row['gain']:.3g} electron/adu",
            note=f"{row['gain_source']}: please look at 01_gain",
        )
        for row in taken[:1]
    ]


def _injected(run):
    if not (run.has_table("crossmatch") and run.has_table("simulated_objects")):
        return []
    sources = recovered(run.read_table("crossmatch"))
    if not len(sources):
        return []
    found, note = in_words(rate(int(np.sum(sources["recovered"])), len(sources)))
    fit = fit_table(sources)[0]
    figures = [
        Figure(name="sources injected", value=f"{len(sources)}"),
        Figure(name="recovered fraction", value=found, note=note),
    ]
    if math.isfinite(fit["m50"]):
        value = f"{fit['m50']:.2f} mag"
        note = f"half is recovered there, +- {fit['m50_err']:.2f}"
        if _is_relative(run):
            note += "\nby a zero point of 30, which is arbitrary"
    else:
        value, note = "unknown", str(fit["reason"])
    return [*figures, Figure(name="m50", value=value, note=note)]


def _is_relative(run):
    """Say whether magnitudes hang on the default zero point, which is no one's."""
    exposures = run.read_table("exposures")
    if "zero_point" not in exposures.colnames:
        return False
    return bool((np.asarray(exposures["zero_point"]) == DEFAULT_ZERO_POINT).all())


def _candidates(run):
    if not run.has_table("candidates"):
        return []
    candidates = run.read_table("candidates")
    note = ""
    if run.has_table("subtractions"):
        subtractions = run.read_table("subtractions")
        good = int(np.sum(np.asarray(subtractions["good"], bool)))
        note = f"good subtractions: {good} of {len(subtractions)}"
    if "flags" in candidates.colnames:
        note = "\n".join(filter(None, [note, count_kinds(candidates)]))
    return [Figure(name="candidates", value=f"{len(candidates)}", note=note)]


def _labels(run):
    if not run.has_table("split"):
        return _labels_of_people(run)
    label = np.asarray(run.read_table("split")["label"]).astype(str)
    counts = [f"{np.sum(label == kind)} {kind}" for kind in ("real", "bogus")]
    return [Figure(name="labeled cutouts", value=", ".join(counts))]


def _labels_of_people(run):
    """Count what people say of the candidates of a new night."""
    if not run.has_table("ranked"):
        return []
    label = np.asarray(run.read_table("ranked")["label"]).astype(str)
    counts = {word: int(np.sum(label == word)) for word in LABELS}
    said = [f"{n} {word}" for word, n in counts.items() if n]
    return [Figure(name="labeled by eye", value=", ".join(said))] if said else []


def _classifier(run, metrics):
    """Return TPR and FPR on the test part, whose places training has not seen."""
    test = metrics.get("parts", {}).get("test", {})
    card_path = run.model_dir / "model.json"
    if not test or not card_path.is_file():
        return []
    target = run.read_json(card_path).get("target_fpr")
    wanted = "the chosen FPR" if target is None else f"FPR {100 * target:g} %"
    part = test["headline"]
    found = _rates(part, wanted)
    if part["auc"] is not None:
        found.append(Figure(name="area under the ROC", value=f"{part['auc']:.4f}"))
    if not (part["tpr"]["n"] or part["fpr"]["n"]):
        # No place is known to be new, as where no exposure has a WCS.
        found += _rates(test["all"], wanted, where=", all places")
    return found


def _rates(part, wanted, *, where=""):
    """Return TPR, that of bright sources, and FPR of one selection."""
    bright = [each for each in part["by_snr"] if each["low"] >= _BRIGHT_SNR]
    of_bright = rate(*(sum(each["tpr"][name] for each in bright) for name in "kn"))
    rates = {
        f"TPR at {wanted}": part["tpr"],
        f"TPR, S/N above {_BRIGHT_SNR}": of_bright,
        "FPR on the test part": part["fpr"],
    }
    figures = []
    for name, fraction in rates.items():
        value, note = in_words(fraction)
        figures.append(Figure(name=name + where, value=value, note=note))
    return figures


def _kept(metrics):
    if metrics.get("workflow") != "apply":
        return []
    before, after = metrics["n_candidates"], metrics["n_kept"]
    figures = [
        Figure(
            name="after the filter",
            value=f"{after} of {before}",
            note=f"score at or above {metrics['threshold']:.3f}, FWHM ratio in limits",
        )
    ]
    expected = metrics.get("expected_false")
    if expected:
        value, _, note = expected["words"].partition(": ")
        name = "expected to be bogus"
        figures.append(Figure(name=name, value=value, note=note.replace("; ", "\n")))
    return figures


def _transients(metrics):
    truth = metrics.get("truth", {})
    if not truth.get("n_transients"):
        return []
    images = truth.get("n_occurrences", truth["n_transients"])
    hidden = f"{truth['n_transients']} transients, {images} times on exposures not seen"
    ranks = ", ".join(str(rank) for rank in truth["ranks"]) or "none"
    return [
        Figure(
            name="hidden transients",
            value=f"{truth['n_kept']} of {images} kept",
            note=f"{hidden}, {truth['n_detected']} detected\nat ranks {ranks}",
        )
    ]
