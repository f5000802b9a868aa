"""Whether ours is better than the others, from the medians over the seeds."""

import statistics

from benchmarks.published import RECIPES
from benchmarks.tables import row

BANDS = ("tpr_bright", "tpr_faint", "tpr", "tpr_at")
ENDS = ("low", "value", "high")


def medians(found, key):
    """Return the medians over the seeds of a rate and of the ends of its interval."""
    return {
        end: statistics.median(one[key][end] for one in found if key in one)
        for end in ENDS
    }


def verdict_rows(found, *, ours, names):
    """Say how far ours is above the best of the others, and on how many sets it is out.

    Parameters
    ----------
    found : dict
        Set to method to a list, one dict of figures a seed.
    ours : str
        Which method is ours.
    names : dict
        Figure to what it is called.

    Returns
    -------
    list of dict
        A row a set and figure, ours less the best other; and a row a published
        network, the sets on which the TPR at all S/N of ours is above its interval.
    """
    rows = []
    for name, methods in found.items():
        others = [method for method in methods if method != ours and methods[method]]
        for key in BANDS if others and methods.get(ours) else ():
            best = max(
                others, key=lambda method: medians(methods[method], key)["value"]
            )
            gap = [medians(methods[method], key)["value"] for method in (ours, best)]
            rows.append(
                row(
                    f"{name}: ours less the best other ({best}): {names[key]}",
                    100 * (gap[0] - gap[1]),
                    "%",
                    "0 or more",
                )
            )
    for network in RECIPES:
        rival = f"{network} as published"
        sets = [
            methods
            for methods in found.values()
            if methods.get(ours) and methods.get(rival)
        ]
        above = sum(
            medians(methods[ours], "tpr")["value"]
            > medians(methods[rival], "tpr")["high"]
            for methods in sets
        )
        if sets:
            text = f"ours above the interval of {rival}: sets of {len(sets)}"
            rows.append(row(text, above, "", "2 or more"))
    return rows
