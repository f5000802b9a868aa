"""Measure the physics beside the tools that observatories run, and print the tables.

Each section makes its own images from a seed, gives the same ones to all tools, and
returns its rows; what is printed is the median over the seeds. A row whose tool is
missing says so. Times are seconds of one core, which is all that a tool is given: what
else the machine does counts for little.

    python -m benchmarks.physics [SECTION ...]
"""

import importlib
import os
import statistics
import sys

SECTIONS = ("psf", "inject", "align", "subtract", "chain", "real_frames")
SEEDS = (1, 2, 3)


def measure(section):
    """Return the rows of a section: medians over the seeds it asks for."""
    module = importlib.import_module(f"benchmarks.bench_{section}")
    runs = [module.measure(seed) for seed in getattr(module, "SEEDS", SEEDS)]
    values = {}
    for run in runs:
        for item in run:
            values.setdefault(item["figure"], []).append(item["value"])
    rows = {item["figure"]: item for run in runs for item in run}
    return [rows[name] | {"value": statistics.median(values[name])} for name in rows]


def main(sections):
    """Run the sections, all of them where none is named."""
    # One core for every tool, so that ratios of times mean something. Only now may
    # numpy be imported: it asks for its threads once.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    tables = importlib.import_module("benchmarks.tables")
    rows = []
    for section in sections or SECTIONS:
        print(f"-- {section}", flush=True)
        rows += measure(section)
    tables.report("physics" if not sections else f"physics_{'_'.join(sections)}", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
