"""A turned and shifted reference without WCS, brought onto the science image's pixels.

The alignment is found on the noisy images; flux is followed through the resampling on
the same reference without noise, so that nothing but the interpolation counts. SWarp,
which needs a WCS, is given the true one.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from scipy.spatial import cKDTree

from benchmarks import rivals
from benchmarks.field import make_pair, turn
from benchmarks.measured import measure_image
from benchmarks.tables import row
from gmadet_nb.campaign.demo import optics
from gmadet_nb.imaging.align import find_alignment, resample

ROTATION, SHIFT = 1.0, 20.0  # [degree], [pixel]
_RADIUS = 12.0  # [pixel] of the apertures
_FREE = 30.0  # [pixel] to the next star of a hundredth of the flux, or more


def true_places(side):
    """Return science places over the field, and where the reference has them."""
    axis = np.linspace(0.03 * side, 0.97 * side, 20)
    x, y = (grid.ravel() for grid in np.meshgrid(axis, axis))
    there = turn({"x": x, "y": y}, side, rotation=ROTATION, shift=SHIFT)
    return (x, y), (there["x"], there["y"])


def free_stars(pair):
    """Return bright stars that stand free, away from the edges, with both places."""
    side = pair.science.data.shape[0]
    stars = pair.stars
    xy = np.column_stack([stars["x"], stars["y"]])
    bright = (stars["flux"] > 2e4) & (stars["flux"] < 2e6)
    bright &= ((xy > 80) & (xy < side - 81)).all(axis=1)
    near = cKDTree(xy).query_ball_point(xy, _FREE)
    flux = np.asarray(stars["flux"])
    alone = [
        all(flux[j] < 0.01 * flux[i] for j in found if j != i)
        for i, found in enumerate(near)
    ]
    chosen = stars[bright & np.array(alone)]
    return chosen, turn(chosen, side, rotation=ROTATION, shift=SHIFT)


def apertures(image, places):
    """Sum the light around places."""
    data = np.ascontiguousarray(image, dtype=np.float64)
    return sep.sum_circle(data, places["x"], places["y"], _RADIUS, subpix=10)[0]


def swarp(quiet, here, there):
    """Resample an image with the WCS ``there`` by SWarp onto the pixels of ``here``."""
    ny, nx = quiet.shape
    with tempfile.TemporaryDirectory() as folder:
        rivals.write(folder, "a.fits", quiet.astype(np.float32), there)
        head = here.to_header()
        head["NAXIS"], head["NAXIS1"], head["NAXIS2"] = 2, nx, ny
        (Path(folder) / "coadd.head").write_text(head.tostring("\n") + "\nEND\n")
        seconds = rivals.run(
            [
                *(rivals.find("swarp"), "a.fits", "-c", "/dev/null"),
                *("-RESAMPLING_TYPE", "LANCZOS3", "-SUBTRACT_BACK", "N"),
                *("-NTHREADS", "1", "-VERBOSE_TYPE", "QUIET", "-WRITE_XML", "N"),
            ],
            folder,
        )
        return fits.getdata(Path(folder) / "coadd.fits"), seconds


def measure(seed):
    """Return the rows of one seed."""
    pair = make_pair(seed, rotation=ROTATION, shift=SHIFT)
    side = pair.science.data.shape[0]
    here, there = measure_image(pair.science), measure_image(pair.reference)
    start = time.process_time()
    alignment = find_alignment(here.sources, there.sources, shape=(side, side))
    found = time.process_time() - start
    start = time.process_time()
    resample(pair.reference.data, pair.reference.mask, alignment)
    fetched = time.process_time() - start
    places, truth = true_places(side)
    error = np.concatenate(np.array(alignment(*places)) - np.array(truth))
    stars, turned = free_stars(pair)
    quiet = np.zeros((side, side))
    light = turn(pair.stars, side, rotation=ROTATION, shift=SHIFT)
    optics.add_stars(quiet, light["x"], light["y"], light["flux"], pair.reference_psf)
    moved, _ = resample(quiet, np.zeros(quiet.shape, np.uint8), alignment)
    before = apertures(quiet, turned)
    kept = apertures(moved, stars) / before - 1
    rows = [
        row("alignment: residual per axis, rms", error.std(), "px", "< 0.1"),
        row("alignment: residual per axis, mean", error.mean(), "px"),
        row("alignment: flux kept, mean off 1", 100 * abs(kept.mean()), "%", "< 0.1"),
        row("alignment: flux kept, rms", 100 * kept.std(), "%"),
        row("alignment: free stars", len(stars)),
        row("alignment: seconds to find it", found, "s"),
        row("alignment: seconds to resample", fetched, "s"),
    ]
    if not rivals.find("swarp"):
        return [*rows, row("SWarp (not installed)", np.nan)]
    moved, seconds = swarp(quiet, pair.science.wcs, pair.reference.wcs)
    kept = apertures(moved, stars) / before - 1
    return [
        *rows,
        row("SWarp: flux kept, mean off 1", 100 * abs(kept.mean()), "%"),
        row("SWarp: flux kept, rms", 100 * kept.std(), "%"),
        row("SWarp: seconds to resample", seconds, "s"),
    ]
