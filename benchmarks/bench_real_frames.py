"""The real sets from 01 to 04: widths, what was recovered, the trail of one frame.

The frames are looked for in the folder that REALDATA names.
"""

import os
from pathlib import Path

import numpy as np

from benchmarks.tables import row
from gmadet_nb.campaign.plan import open_campaign
from gmadet_nb.campaign.runner import run_campaign

SEEDS = (1,)  # the frames are what they are
# Campaign: share of the bright injected sources to be recovered, in per cent.
GOALS = {"tres1": 99, "saao_kb13475": 95, "decam_pair": None, "eso085_nowcs": None}
BRIGHT_SNR = 15
WIDTH_RANGE = (0.95, 1.08)
TRAILED = "AKB13475I0070"


def find_frames():
    """Return the folder of the real sets, or None."""
    folder = Path(os.environ.get("REALDATA", "../shared/realdata"))
    return folder if folder.is_dir() else None


def open_set(name):
    """Open the campaign of one real set."""
    return open_campaign(
        f"params/{name}.yaml", assignments=[f"images_dir={find_frames() / name}"]
    )


def physics_rows(name, run):
    """Return the rows of one set whose run has come to 04_cutouts."""
    exposures = run.read_table("exposures")
    subtractions = run.read_table("subtractions")
    kept = subtractions[subtractions["good"]]
    width = np.asarray(kept["noise_width"])
    inside = (width >= WIDTH_RANGE[0]) & (width <= WIDTH_RANGE[1])
    has_goal = GOALS[name] is not None
    rows = [
        row(f"{name}: exposures", len(exposures)),
        row(
            f"{name}: set aside, with the reason",
            len(exposures) - len(kept),
            "",
            "<= 3" if name == "saao_kb13475" else None,
        ),
        *(
            row(f"{name}: noise width, {word}", figure(width))
            for word, figure in (
                ("lowest", np.min),
                ("median", np.median),
                ("highest", np.max),
            )
        ),
        row(
            f"{name}: kept with a noise width of 0.95 to 1.08",
            100 * inside.mean(),
            "%",
            ">= 90" if has_goal else None,
        ),
        row(
            f"{name}: bright stars' pixels beyond 5 sigma, median",
            100 * np.nanmedian(kept["star_share"]),
            "%",
        ),
        *recovery_rows(name, run, kept["exposure_id"]),
    ]
    if name == "saao_kb13475":
        streaks = run.read_table("streaks")
        trails = streaks[streaks["exposure_id"] == TRAILED]
        rows.append(row(f"{name}: streaks in {TRAILED}", len(trails), "", "1"))
    return rows


def recovery_rows(name, run, kept):
    """Return what was recovered of the bright injected sources on usable pixels."""
    crossmatch = run.read_table("crossmatch")
    bright = (np.asarray(crossmatch["source_id"]) != "") & crossmatch["usable"]
    bright &= np.asarray(crossmatch["difference_snr"]) >= BRIGHT_SNR
    bright &= np.isin(crossmatch["exposure_id"], kept)
    found = np.isin(np.asarray(crossmatch["match"]), ["matched", "ambiguous"])
    what = f"{name}: injected with S/N >= {BRIGHT_SNR}"
    goal = GOALS[name]
    return [
        row(f"{what}, number", bright.sum()),
        row(
            f"{what}, recovered",
            100 * found[bright].mean(),
            "%",
            f">= {goal}" if goal else None,
        ),
    ]


def measure(_):
    """Run every set as far as its cutouts and return the rows."""
    if find_frames() is None:
        return [row("real frames (not at hand: set REALDATA)", np.nan)]
    rows = []
    for name in GOALS:
        campaign = open_set(name)
        run_campaign(campaign, last="04_cutouts")
        rows += physics_rows(name, campaign.run)
    return rows
