"""One page about a run, with everything in it, to send to a colleague."""

import json
from importlib.resources import files

import numpy as np

from gmadet_nb import __version__
from gmadet_nb.campaign.html import (
    data_uri,
    escape,
    figure_title,
    first_heading,
    html_table,
    markdown_near,
    position,
    says_nothing,
    small_png,
    triplet_png,
)
from gmadet_nb.campaign.manifest import Manifest
from gmadet_nb.campaign.summary import in_words, key_figures, total_time
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.learning import baselines
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.progress import format_seconds

N_RANKED = 20
N_ROWS = 40  # of a table of exposures


def write_report(campaign, *, stale=()):
    """Write ``report.html``, one page that needs no other file and no network.

    Parameters
    ----------
    campaign : gmadet_nb.campaign.plan.Campaign
    stale : list of str
        Stages whose figures are older than what they were made from: the page says so.

    Returns
    -------
    Path
        Where it is.
    """
    run = campaign.run
    sections = [
        ("Key figures", _tiles(run)),
        ("Warnings", _warnings(run)),
        ("Ranked candidates", _ranked(campaign)),
        ("Exposures", _exposures(run)),
        ("Subtraction", _subtractions(run)),
        ("Completeness", _completeness(run)),
        ("Classifier", _classifier(run) + _simpler(run)),
        *_figures(campaign),
        ("Parameters that differ from the defaults", _parameters(campaign)),
        ("Stages", _stages(campaign)),
    ]
    body = "\n".join(
        f'<section id="s{number}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'
        for number, (title, content) in enumerate(sections)
        if content
    )
    links = " ".join(
        f'<a href="#s{number}">{escape(title.split(":")[0])}</a>'
        for number, (title, content) in enumerate(sections)
        if content
    )
    page = files("gmadet_nb.campaign").joinpath("report.html").read_text("utf-8")
    parts = {
        "TITLE": escape(f"{run.root.resolve().name}: {campaign.workflow}"),
        "LEAD": escape(_lead(campaign, stale)),
        "LINKS": links,
        "STYLE": files("gmadet_nb.campaign").joinpath("report.css").read_text("utf-8"),
        "BODY": body,
    }
    with atomic_path(run.report_path) as temporary:
        temporary.write_text(_filled(page, parts), encoding="utf-8")
    return run.report_path


def _filled(page, parts):
    """Put the parts into the page, once each: what they hold is not looked at."""
    pieces = page.split("%%")
    return "".join(
        parts[piece] if number % 2 else piece for number, piece in enumerate(pieces)
    )


def _lead(campaign, stale):
    entries = Manifest(campaign.run).entries
    finished = max((entry["finished"] for entry in entries.values()), default="never")
    # After a run of some stages the others' figures belong to what was before.
    older = f" · OUT OF DATE: {', '.join(stale)}" if stale else ""
    return (
        f"{campaign.source} · {len(entries)} of {len(campaign.stages)} stages "
        f"finished, the last {finished.replace('T', ' ').replace('+00:00', ' UTC')} · "
        f"{total_time(campaign)} in all · gmadet_nb {__version__}{older}"
    )


def _tiles(run):
    tiles = [
        f"<div class='tile'><b>{escape(figure.value)}</b>{escape(figure.name)}"
        f"<small>{escape(figure.note)}</small></div>"
        for figure in key_figures(run)
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _warnings(run):
    if not run.metrics_path.is_file():
        return ""
    words = run.read_json(run.metrics_path).get("warnings", [])
    lines = "".join(f"<li>{escape(text)}</li>" for text in words)
    return f'<ul class="warnings">{lines}</ul>' if words else ""


def _ranked(campaign):
    run, last = campaign.run, campaign.stages[-1]
    if "ranked.ecsv" not in last.writes or not run.has_table("ranked"):
        return ""
    whole = run.read_table("ranked")
    table = whole[:N_RANKED]
    names = ["rank", "score", "kept", "candidate_id", "ra", "dec", "x", "y", "snr"]
    names = [name for name in [*names, "mag", "fwhm"] if name in table.colnames]
    pictures = {}
    if run.cutouts_path.is_file() and len(table):
        with CutoutStore(run.cutouts_path) as store:
            ids = [str(key) for key in table["candidate_id"] if str(key) in store]
            for key, pixels in zip(ids, store.read(ids), strict=True):
                pictures[key] = data_uri(triplet_png(pixels))
    cutouts = [
        f'<img class="cutout" alt="" src="{pictures[key]}">' if key in pictures else ""
        for key in np.asarray(table["candidate_id"]).astype(str)
    ]
    said = f"<p>The first {len(table)} of {len(whole)}; all are in ranked.ecsv.</p>"
    return said + html_table(
        table[names], extra={"science | reference | difference": cutouts}
    )


def _exposures(run):
    if not run.has_table("exposures"):
        return ""
    names = ["exposure_id", "used", "filter", "mjd", "exptime", "fwhm", "elongation"]
    names += ["n_stars", "limiting_mag", "gain", "zero_point", "reason"]
    table = run.read_table("exposures")
    return _head(table, names, good="used", file="exposures.ecsv")


def _subtractions(run):
    if not run.has_table("subtractions"):
        return ""
    names = ["exposure_id", "good", "reason", "science_fwhm", "reference_fwhm"]
    names += ["alignment_rms", "kernel_sum", "noise_width", "noise_factor"]
    names += ["star_width", "n_candidates", "method", "reference"]
    table = run.read_table("subtractions")
    return _head(table, names, good="good", file="subtractions.ecsv")


def _head(table, names, *, good, file):
    """Return some columns of a table; of a long one the head, the bad rows first."""
    names = [name for name in names if name in table.colnames]
    said = ""
    if len(table) > N_ROWS:
        said = f"<p>{N_ROWS} of {len(table)}, those that are not {good} first; "
        said += f"all are in {file}.</p>"
        table = table[np.argsort(np.asarray(table[good], bool), kind="stable")]
    return said + html_table(table[:N_ROWS][names])


def _completeness(run):
    if not run.has_table("completeness"):
        return ""
    table = run.read_table("completeness")
    for name in ("group", "axis"):
        if name in table.colnames:
            wanted = str(table[name][0]) if len(table) else ""
            table = table[np.asarray(table[name]).astype(str) == wanted]
    return html_table(table)


def _classifier(run):
    if not run.metrics_path.is_file():
        return ""
    rows = []
    for part, selections in run.read_json(run.metrics_path).get("parts", {}).items():
        for selection, text in (("headline", "new places"), ("all", "all places")):
            found = selections.get(selection)
            if not found:
                continue
            rates = [
                "{} ({})".format(*in_words(found[name]))
                if name in found
                else "none: the bogus of these folds chose the threshold"
                for name in ("tpr", "fpr")
            ]
            area = "" if found["auc"] is None else f"{found['auc']:.4f}"
            rows.append([part.replace("_", " "), text, *rates, area])
    head = ["part", "candidates at", "TPR", "FPR", "area under the ROC"]
    note = (
        "<p>A new place is one on the sky and on the detector where no candidate of "
        "the training part stood; those figures count. The intervals are binomial, "
        "over candidates: exposures differ among each other by more than they say, "
        "and where the test part is one exposure nothing shows by how much.</p>"
    )
    return note + html_table(rows, head=head) if rows else ""


def _simpler(run):
    """Return what simpler judges reach beside the model of this run, and a verdict."""
    path = run.model_dir / "model.json"
    rows = run.read_json(path).get("baselines") if path.is_file() else None
    if not rows:
        return ""
    words = "".join(f"<p>{escape(text)}</p>" for text in baselines.verdict(rows))
    head = "<h3>Beside what is simpler, on the test part at new places</h3>"
    return head + words + html_table(baselines.in_words(rows))


def _figures(campaign):
    """Return a section for each notebook that drew something."""
    for stage in campaign.stages:
        number = stage.name.split("_")[0]
        paths = sorted(campaign.run.figures_dir.glob(f"{number}_*.png"))
        if not paths:
            continue
        cells = json.loads(campaign.notebook(stage.name).read_text())["cells"]
        paths.sort(key=lambda path: position(cells, path.stem))
        items, empty = [], []
        for path in paths:
            png, words = path.read_bytes(), figure_title(path.stem)
            if says_nothing(png):
                empty.append(words)
                continue
            caption = markdown_near(cells, path.stem)
            items.append(
                f'<figure><img alt="{escape(words)}" '
                f'src="{data_uri(small_png(png))}"><figcaption>'
                f"<b>{escape(words)}.</b> {escape(caption)}"
                "</figcaption></figure>"
            )
        if empty:
            text = f"Left out, as there was nothing to draw: {', '.join(empty)}."
            items.append(f"<p>{escape(text)}</p>")
        title = first_heading(cells) or stage.name
        yield f"{title}", f"{_link(stage.name)}\n" + "\n".join(items)


def _link(name):
    return (
        f'<p><a href="notebooks/{escape(name)}.ipynb">{escape(name)}.ipynb</a>, '
        "as it was executed</p>"
    )


def _parameters(campaign):
    rows = [
        [name, json.dumps(value), json.dumps(parameter.default), parameter.help]
        for name, (parameter, value) in campaign.values().items()
        if value != parameter.default
    ]
    return html_table(rows, head=["name", "value", "default", "meaning"])


def _stages(campaign):
    entries = Manifest(campaign.run).entries
    rows, links, versions = [], [], set()
    for stage in campaign.stages:
        entry = entries.get(stage.name)
        writes = ", ".join(stage.writes)
        if entry:
            took, at = format_seconds(entry["seconds"]), entry["finished"][:16]
            rows.append(["finished", took, at.replace("T", " "), writes])
            versions.add(", ".join(f"{k} {v}" for k, v in entry["versions"].items()))
        else:
            rows.append(["not finished", "", "", writes])
        name = escape(stage.name)
        links.append(f'<a href="notebooks/{name}.ipynb">{name}</a>')
    table = html_table(
        rows, head=["state", "took", "at [UTC]", "writes"], extra={"notebook": links}
    )
    return table + "".join(f"<p>{escape(text)}</p>" for text in sorted(versions))
