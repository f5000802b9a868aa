"""Run both large real campaigns from 01 to 10 and print what came of them.

The frames are looked for in the folder that REALDATA names; without it this
says so and ends well.
"""

import sys

from benchmarks.bench_real_frames import find_frames, open_set, physics_rows
from benchmarks.tables import report, row
from gmadet_nb.campaign.report import write_report
from gmadet_nb.campaign.runner import run_campaign
from gmadet_nb.campaign.summary import summary

CAMPAIGNS = ("tres1", "saao_kb13475")


def classifier_rows(name, run):
    """Return the classifier's rows on the test exposures."""
    metrics = run.read_json(run.metrics_path)
    test = metrics["parts"]["test"]["headline"]
    return [
        row(f"{name}: TPR on test", 100 * test["tpr"]["value"], "%"),
        row(f"{name}: FPR on test", 100 * test["fpr"]["value"], "%"),
    ]


def main():
    """Run, measure, print."""
    if find_frames() is None:
        print("make real: no real frames at hand; set REALDATA to their folder.")
        return 0
    rows = []
    for name in CAMPAIGNS:
        campaign = open_set(name)
        if run_campaign(campaign) or not campaign.run.report_path.is_file():
            write_report(campaign)
        print("\n".join(summary(campaign)))
        for exposure in campaign.run.read_table("exposures"):
            if not exposure["used"]:
                print(f"  {exposure['exposure_id']} set aside: {exposure['reason']}")
        rows += physics_rows(name, campaign.run) + classifier_rows(name, campaign.run)
    report("real", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
