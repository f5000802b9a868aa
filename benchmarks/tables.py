"""Print the rows of a benchmark and leave them as JSON."""

import json
from pathlib import Path

from gmadet_nb.files.rundir import atomic_path

RESULTS = Path("benchmarks/results")


def row(figure, value, unit="", goal=None):
    """Make one row: what was measured, its value, unit and goal."""
    made = {"figure": figure, "value": float(value), "unit": unit}
    return made | ({"goal": goal} if goal else {})


def report(name, rows):
    """Print rows as a table and write them to ``benchmarks/results/<name>.json``."""
    width = max(len(item["figure"]) for item in rows)
    for item in rows:
        goal = f"   goal {item['goal']}" if "goal" in item else ""
        ends = f"({item['low']:.4g} to {item['high']:.4g})" if "low" in item else ""
        value = f"{item['value']:9.4g} {item['unit']:10}"
        print(f"{item['figure']:{width}}  {value} {ends:20}{goal}".rstrip())
    path = RESULTS / f"{name}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"written to {path}")
