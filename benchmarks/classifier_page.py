"""Write what was measured of classifiers as a page, ``docs/classifier.md``.

    python -m benchmarks.classifier_page

From the files that the benchmarks left in ``benchmarks/results``: what has not been
measured is not on the page.
"""

import json
import sys
from pathlib import Path

from benchmarks.tables import RESULTS
from gmadet_nb.files.rundir import atomic_path

PAGE = Path("docs/classifier.md")
# What a column is called, and how its figure begins in the rows.
COLUMNS = {
    "TPR, S/N > 10 [%]": "TPR at S/N above 10",
    "TPR, S/N 5 to 10 [%]": "TPR at S/N 5 to 10",
    "FPR found [%]": "FPR found, all seeds together",
    "TPR at the same FPR [%]": "TPR at the same FPR of the test part, all places",
    "AUC": "area under the ROC curve",
    "calibration error": "expected calibration error, less chance",
}
INTRO = """# How good the scores are

Measured by `make bench-classifier` on the exposures that trained nothing, at places
that training has not seen; medians over the seeds, and of the ends of the 95 %
intervals. The threshold is chosen without the test exposures, for a false-positive rate
(FPR) of 1 %, on saao_kb13475 of 5 %, as there are few bogus. *demo* is a night of the
simulator with some 8,000 candidates; *tres1* and *saao_kb13475* are real frames with
injected sources. *As published* is a network trained its authors' way on the same
candidates, *our way* the same network with our planes, scaling, turns and epochs. "The
same FPR" is that of the test part itself: there no method gains by a threshold that
came out low.
"""
OTHERS = {
    "transfer": "From one telescope to another",
    "ablation": "What each choice in the network is worth",
    "suspects": "Wrong labels found",
    "scoring_small": "Speed of scoring",
    "memory": "Memory",
}


def tables_of(rows):
    """Return the tables of classifiers, set by set, as lines of Markdown.

    Parameters
    ----------
    rows : list of dict
        As `benchmarks.classifier` leaves them: ``figure`` is "SET: METHOD: TEXT".

    Returns
    -------
    list of str
    """
    lines = []
    for name, methods in _by_set(rows).items():
        methods = {key: one for key, one in methods.items() if len(one) > 2}
        if methods:
            lines += [f"## {name}", "", *_head(["classifier", *COLUMNS, "seeds"])]
            lines += [_line(method, one) for method, one in methods.items()] + [""]
    return lines


def ablation_of(rows):
    """Return the tables of `benchmarks.ablation`, set by set, as lines of Markdown."""
    lines = []
    for name, variants in _by_set(rows).items():
        texts = list(next(iter(variants.values())))
        lines += _head([name, *texts])
        for variant, one in variants.items():
            values = " | ".join(f"{one[text]['value']:.4g}" for text in texts)
            lines.append(f"| {variant} | {values} |")
        lines.append("")
    return lines


def _by_set(rows):
    """Return set -> method -> text -> row of rows called "SET: METHOD: TEXT"."""
    cells = {}
    for item in rows:
        name, *rest = item["figure"].split(": ")
        if len(rest) == 2:
            cells.setdefault(name, {}).setdefault(rest[0], {})[rest[1]] = item
    return cells


def _head(names):
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def _line(method, figures):
    """Return one classifier as a line of its table."""
    texts, n_seeds = [], set()
    for begins in COLUMNS.values():
        found = [one for text, one in figures.items() if text.startswith(begins)]
        texts.append(_cell(found[0]) if found else "")
        n_seeds |= {one["n_seeds"] for one in found if "n_seeds" in one}
    return f"| {method} | {' | '.join(texts)} | {max(n_seeds, default='')} |"


def _cell(item):
    """Return a value, with its interval where it has one."""
    digits = ".1f" if item["unit"] == "%" else ".3f"
    text = format(item["value"], digits)
    if "low" in item:
        text += f" ({item['low']:{digits}} to {item['high']:{digits}})"
    return text


def list_of(rows):
    """Return other rows as a table of figures and values, as lines of Markdown."""
    lines = _head(["what", "value", "goal"])
    for item in rows:
        ends = f" ({item['low']:.4g} to {item['high']:.4g})" if "low" in item else ""
        value = f"{item['value']:.4g} {item['unit']}{ends}"
        lines.append(f"| {item['figure']} | {value.strip()} | {item.get('goal', '')} |")
    return [*lines, ""]


def main():
    """Write the page of what there is."""
    path = RESULTS / "classifier.json"
    if not path.is_file():
        print(f"{path} is not there: run make bench-classifier first.")
        return 1
    rows = json.loads(path.read_text())
    lines = [INTRO, *tables_of(rows), "## Beside the others", ""]
    some = ("ours ", "demo: transients kept", "demo: fused: training")
    lines += list_of(
        [
            item
            for item in rows
            if item["figure"].startswith(some) or ": ours less" in item["figure"]
        ]
    )
    for name, title in OTHERS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            rows = json.loads(path.read_text())
            lines += [f"## {title}", ""]
            lines += ablation_of(rows) if name == "ablation" else list_of(rows)
    with atomic_path(PAGE) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n")
    print(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
