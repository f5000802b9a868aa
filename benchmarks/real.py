"""Run both real campaigns from 01 to 10 and print what came of them.

The frames are looked for in the folder that REALDATA names; without it this
says so and ends well.
"""

import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.tables import report, row
from gmadet_nb.campaign.plan import open_campaign
from gmadet_nb.campaign.report import write_report
from gmadet_nb.campaign.runner import run_campaign
from gmadet_nb.campaign.summary import summary

# Campaign: share of the bright injected sources to be recovered.
CAMPAIGNS = {"tres1": 0.95, "saao_kb13475": 0.85}
BRIGHT_SNR = 15
WIDTH_RANGE = (0.9, 1.15)
WIDTH_SHARE = 0.8


def measure(name, run, goal):
    """Return the rows of one campaign that has run."""
    exposures = run.read_table("exposures")
    subtractions = run.read_table("subtractions")
    width = np.asarray(subtractions["noise_width"])
    # One that could not be subtracted has no width: it counts as outside.
    good = (width > WIDTH_RANGE[0]) & (width < WIDTH_RANGE[1])
    crossmatch = run.read_table("crossmatch")
    bright = (np.asarray(crossmatch["source_id"]) != "") & crossmatch["usable"]
    bright &= np.asarray(crossmatch["difference_snr"]) >= BRIGHT_SNR
    found = np.isin(np.asarray(crossmatch["match"]), ["matched", "ambiguous"])
    of_exposure = np.asarray(crossmatch["exposure_id"])
    shares = [
        found[bright & (of_exposure == exposure)].mean()
        for exposure in np.unique(of_exposure[bright])
    ]
    metrics = run.read_json(run.metrics_path)
    return [
        row(f"{name}: exposures", len(exposures)),
        row(f"{name}: exposures set aside", np.sum(~exposures["used"])),
        row(f"{name}: noise width, lowest", np.nanmin(width)),
        row(f"{name}: noise width, median", np.nanmedian(width)),
        row(f"{name}: noise width, highest", np.nanmax(width)),
        row(
            f"{name}: exposures with a noise width of 0.9 to 1.15",
            100 * good.mean(),
            "%",
            f">= {100 * WIDTH_SHARE:.0f}",
        ),
        row(
            f"{name}: injected with S/N >= {BRIGHT_SNR}, recovered, median exposure",
            100 * np.median(shares),
            "%",
            f">= {100 * goal:.0f}",
        ),
        row(
            f"{name}: the same, worst exposure",
            100 * np.min(shares),
            "%",
        ),
        *classifier_rows(name, metrics),
    ]


def classifier_rows(name, metrics):
    """Return the classifier's rows on the test exposures."""
    test = metrics["parts"]["test"]["headline"]
    return [
        row(f"{name}: TPR on test", 100 * test["tpr"]["value"], "%"),
        row(f"{name}: FPR on test", 100 * test["fpr"]["value"], "%"),
    ]


def main():
    """Run, measure, print."""
    realdata = Path(os.environ.get("REALDATA", "../shared/realdata"))
    if not realdata.is_dir():
        print(f"make real: no real frames at {realdata}; set REALDATA to their folder.")
        return 0
    rows = []
    for name, goal in CAMPAIGNS.items():
        campaign = open_campaign(
            f"params/{name}.yaml", assignments=[f"images_dir={realdata / name}"]
        )
        if run_campaign(campaign) or not campaign.run.report_path.is_file():
            write_report(campaign)
        print("\n".join(summary(campaign)))
        for exposure in campaign.run.read_table("exposures"):
            if not exposure["used"]:
                print(f"  {exposure['exposure_id']} set aside: {exposure['reason']}")
        rows += measure(name, campaign.run, goal)
    report("real", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
