"""The candidates to compare classifiers on: a long demo night and real frames."""

from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from benchmarks.bench_real_frames import find_frames
from gmadet_nb.campaign.demo.nights import make_demo
from gmadet_nb.campaign.plan import open_campaign
from gmadet_nb.campaign.runner import run_campaign

FOLDER = Path("runs/bench_classifier")
# Exposures of the demo's first night: about 8,000 labelled candidates.
N_EXPOSURES = 20
SETS = ("demo", "tres1", "saao_kb13475")
# On saao there are too few bogus for 1%.
TARGET_FPR = {"demo": 0.01, "tres1": 0.01, "saao_kb13475": 0.05}


def open_set(name):
    """Open the campaign of one set; None where its frames are not at hand."""
    folder = FOLDER / name
    assignments = [f"run_dir={folder}"]
    if name == "demo":
        nights = FOLDER / "nights"
        make_demo(nights, n_exposures=(N_EXPOSURES, 3))
        assignments += [
            f"images_dir={nights / 'night1' / 'images'}",
            f"reference={nights / 'reference' / 'reference.fits'}",
            f"known_objects=[{nights / 'night1' / 'known_objects.ecsv'}]",
        ]
    elif find_frames() is None:
        return None
    else:
        assignments.append(f"images_dir={find_frames() / name}")
    return open_campaign(f"params/{name}.yaml", assignments=assignments)


def make_set(name):
    """Run a set as far as 04_cutouts and return its run folder, or None."""
    campaign = open_set(name)
    if campaign is None:
        return None
    run_campaign(campaign, last="04_cutouts")
    return campaign.run


def hidden_transients(name, candidates):
    """Say which candidates are the demo's own transients, which nobody knows of.

    A dozen a night, real and not injected: a telescope would not know of them, and
    would take some for bogus. Here they are left out, so that the figures are of the
    labels that a set has and not of what they get wrong; variables and minor planets
    are left out as a user would, by a table of known objects.

    Returns
    -------
    (n,) bool array
    """
    own = np.zeros(len(candidates), dtype=bool)
    if name != "demo":
        return own
    truth = Table.read(FOLDER / "nights" / "night1" / "truth_transients.ecsv")
    for exposure_id in np.unique(truth["exposure_id"]):
        here = np.flatnonzero(candidates["exposure_id"] == exposure_id)
        there = truth[truth["exposure_id"] == exposure_id]
        tree = cKDTree(np.column_stack([there["x"], there["y"]]))
        some = candidates[here]
        distance, _ = tree.query(np.column_stack([some["x"], some["y"]]))
        own[here] |= distance < np.asarray(some["psf_fwhm"])
    return own
