"""The whole of 03 on one pair: from two FITS files to the table of candidates.

Both files are read, the reference is turned, aligned and subtracted, the difference is
searched, measured and written, and so is the table. Sources and PSFs are what 01 left.
The second of two runs is timed.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from benchmarks.field import make_pair
from benchmarks.tables import row
from gmadet_nb.campaign.parameters import read_schema
from gmadet_nb.campaign.plan import default_notebooks
from gmadet_nb.campaign.steps import difference as search
from gmadet_nb.campaign.steps import examine
from gmadet_nb.files.rundir import RunDir

ROTATION, SHIFT = 1.0, 20.0  # [degree], [pixel]
_NEAR = 2.5  # [pixel] of a candidate from a transient
_CHOICES = "subtraction", "reference_gain", "n_stack", "kernel_degree"


def defaults(notebook):
    """Return what a notebook's parameters are if nothing else is said."""
    return {
        parameter.name: parameter.default
        for parameter in read_schema(default_notebooks() / f"{notebook}.ipynb").values()
    }


def write_exposure(folder, image):
    """Write an image with what its header must state."""
    header = image.wcs.to_header()
    header["GAIN"], header["RDNOISE"] = image.gain, image.read_noise
    header["SATURATE"], header["FILTER"] = image.saturation, image.filter
    header["EXPTIME"], header["DATE-OBS"] = 60.0, "2026-01-01T00:00:00"
    fits.writeto(folder / f"{image.exposure_id}.fits", image.data, header)


def make_run(folder, pair):
    """Make a run folder of a pair, as 01 leaves it."""
    (folder / "images").mkdir()
    for image in (pair.science, pair.reference):
        write_exposure(folder / "images", image)
    run = RunDir(folder / "run")
    rows = [
        examine.examine_exposure(
            exposure,
            run_dir=run.root,
            telescope="generic",
            settings=defaults("01_images"),
        )
        for exposure in examine.list_exposures(folder / "images")
    ]
    run.write_table("exposures", examine.exposures_table(rows))
    return run


def find(run):
    """Do what 03 does for one exposure; return its table and the subtraction's row."""
    chosen = defaults("03_detect")
    found = search.detect_on_exposure(
        "science",
        run_dir=run.root,
        workflow="apply",
        reference="best",
        threshold=chosen["detection_threshold"],
        **{name: chosen[name] for name in _CHOICES},
    )
    candidates = search.candidates_table([found], run.read_table("exposures"))
    run.write_table("candidates", candidates)
    return candidates, found.row


def measure(seed):
    """Return the rows of one seed."""
    pair = make_pair(seed, rotation=ROTATION, shift=SHIFT)
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), pair)
        for _ in range(2):
            start = time.process_time()
            candidates, made = find(run)
            seconds = time.process_time() - start
    places = np.column_stack([candidates["x"], candidates["y"]]).astype(float)
    there = np.column_stack([pair.transients["x"], pair.transients["y"]])
    hit = cKDTree(places).query(there)[0] <= _NEAR
    bright = pair.transients["snr"] > 10
    return [
        row("chain 2048: seconds, FITS to candidates", seconds, "s", "< 4"),
        row("chain 2048: width in the sky", made["noise_width"], "", "0.97-1.03"),
        row("chain 2048: candidates at 4 sigma", len(candidates)),
        row("chain 2048: transients of S/N > 10 found", 100 * hit[bright].mean(), "%"),
    ]
