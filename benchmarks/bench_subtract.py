"""Image subtraction at 2048 and 4096 pixels: time, memory, noise, stars, transients.

Each run of ours is a process of its own, so that its memory can be told; the second of
two calls is timed. All tools get the same registered images, and the same matched
filter and truth judge their differences.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from benchmarks import rival_subtraction, rivals
from benchmarks.field import make_pair
from benchmarks.measured import measure_image
from benchmarks.tables import row
from gmadet_nb.files.images import MASK_BITS, UNUSABLE, Image
from gmadet_nb.imaging.detect import find_candidates, significance
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.psf import read_psf, write_psf
from gmadet_nb.imaging.quality import grow
from gmadet_nb.imaging.subtract import subtract
from gmadet_nb.sky.references import Reference

SIDES = (2048, 4096)
METHODS = ("auto", "zogy", "kernel")
# Once measured of tuned HOTPANTS on such a pair; half of it is the goal.
GOAL_SECONDS = {2048: 2.0, 4096: 10.0}
GOAL_MEGABYTES = {2048: 700, 4096: 1800}
_THRESHOLD = 5.0
_RIM = 10  # [pixel]
_NEAR = 2.5  # [pixel] of a detection from a transient
_PLANES = ("data", "mask", "variance")


def save_inputs(folder, pair, science, reference):
    """Write what a subtraction takes, for a process of its own."""
    for name, image, measured in (
        ("science", pair.science, science),
        ("reference", pair.reference, reference),
    ):
        planes = image.data, image.mask, measured.variance
        for kind, plane in zip(_PLANES, planes, strict=True):
            np.save(folder / f"{name}_{kind}.npy", plane)
        write_psf(folder / f"{name}.fits", measured.psf)
    stars = science.sources[science.sources["is_star"]]["x", "y", "flux"]
    stars.write(folder / "stars.ecsv")


def load_inputs(folder):
    """Read what `save_inputs` wrote, as the arguments of `subtract`."""
    (data, mask, variance), (there, there_mask, there_variance) = (
        [np.load(folder / f"{name}_{kind}.npy") for kind in _PLANES]
        for name in ("science", "reference")
    )
    science = Image(
        data=data,
        mask=mask,
        gain=1.0,
        read_noise=0.0,
        saturation=np.inf,
        zero_point=25.0,
        exposure_id="science",
    )
    psf = read_psf(folder / "reference.fits")
    reference = Reference(
        data=there,
        variance=there_variance,
        mask=there_mask,
        fwhm=psf.fwhm,
        text="reference",
        n_images=1,
        alignment_rms=0.0,
        alignment_method="none",
        correlation=0.0,
        psf=psf,
    )
    stars = Table.read(folder / "stars.ecsv")
    return science, variance, reference, read_psf(folder / "science.fits"), stars


def child(folder, method):
    """Subtract twice in this process; print the second's time, and the peak memory."""
    science, variance, reference, psf, stars = load_inputs(folder)
    for _ in range(2):
        start = time.perf_counter()
        made = subtract(
            science,
            variance,
            reference,
            psf=psf,
            stars=stars,
            method=method,
            degree=2 if method == "kernel" else 1,
        )
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(folder / "made.npz", data=made.data, noise=made.noise, mask=made.mask)
    write_psf(folder / "made.fits", made.psf)
    said = {"seconds": seconds, "megabytes": peak, "method": made.method}
    print(json.dumps(said | {"factor": made.noise_factor}))


class Made:
    """A difference as far as the matched filter needs it."""

    def __init__(self, data, noise, mask, psf, factor=1.0):
        self.data, self.noise, self.mask, self.psf = data, noise, mask, psf
        self.factor = factor
        self.usable = (mask & UNUSABLE) == 0


def run_child(folder, method):
    """Run `child` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_subtract", str(folder), method],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    said = json.loads(done.stdout)
    made = np.load(folder / "made.npz")
    psf = read_psf(folder / "made.fits")
    planes = (made[name] for name in ("data", "noise", "mask"))
    return Made(*planes, psf, said["factor"]), said


def judge_rows(name, made, pair):
    """Return the rows that hold a difference against the truth of its pair."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas = np.where(made.usable, made.data / made.noise, 0)
    bright = _star_cores(pair)
    sky = made.usable & ~grow(_lit(pair), 8)
    snr = significance(made, made.psf) / made.factor
    width = made.psf.fwhm
    # No tool is right where half of a star lies off the image.
    snr[:_RIM], snr[-_RIM:], snr[:, :_RIM], snr[:, -_RIM:] = 0, 0, 0, 0
    found = find_candidates(snr, detection_threshold=_THRESHOLD, fwhm=width)
    missing = find_candidates(-snr, detection_threshold=_THRESHOLD, fwhm=width)
    n_usable, n_found, false = _against_truth(pair, made, found)
    # The filters ring around a cosmic ray.
    n_missing = int((~grow(pair.rays, 8)[missing[1], missing[0]]).sum())
    off = np.abs(sigmas[bright & made.usable]) > 5
    return [
        row(f"{name}: width in the sky", robust_width(sigmas[sky]), "", "0.97-1.03"),
        row(f"{name}: bright stars' pixels beyond 5 sigma", 100 * off.mean(), "%"),
        row(f"{name}: transients found", n_found, f"of {n_usable}"),
        row(f"{name}: false detections, no cosmic ray", false),
        row(f"{name}: negative detections, no cosmic ray", n_missing),
    ]


def _against_truth(pair, made, found):
    """Count usable transients, those found, and detections that are nothing real."""
    xy = np.column_stack([pair.transients["x"], pair.transients["y"]])
    column, line = np.rint(xy).astype(int).T
    usable = made.usable[line, column]
    peaks = np.column_stack(found).astype(float)
    if not len(peaks):
        return int(usable.sum()), 0, 0
    distance, _ = cKDTree(peaks).query(xy)
    near = cKDTree(xy).query(peaks)[0] <= _NEAR
    ray = grow(pair.rays, 3)[found[1], found[0]]
    n_found = int((distance[usable] <= _NEAR).sum())
    return int(usable.sum()), n_found, int((~near & ~ray).sum())


def _lit(pair):
    """Mark the pixels of stars, transients and rays."""
    lit = pair.rays.copy()
    ny, nx = lit.shape
    for table in (pair.stars, pair.transients):
        x, y = (np.rint(table[name]).astype(int) for name in ("x", "y"))
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        lit[y[inside], x[inside]] = True
    return lit


def _star_cores(pair):
    """Mark the cores of stars that are bright and not saturated."""
    stars = pair.stars[(pair.stars["flux"] > 5e4) & (pair.stars["flux"] < 4e5)]
    marked = np.zeros(pair.science.data.shape, dtype=bool)
    x, y = (np.rint(stars[name]).astype(int) for name in ("x", "y"))
    inside = (x >= 0) & (x < marked.shape[1]) & (y >= 0) & (y < marked.shape[0])
    marked[y[inside], x[inside]] = True
    return grow(marked, 3)


def rival_rows(pair, side, science, reference):
    """Return the rows of HOTPANTS and sfft on the same pair."""
    fwhms, rows = (science.psf.fwhm, reference.psf.fwhm), []
    mask = pair.science.mask | pair.reference.mask
    mask = mask | np.where(grow(mask > 0, 8), MASK_BITS["bad"], 0).astype(np.uint8)
    name = f"HOTPANTS {side}"
    if rivals.find("hotpants"):
        data, noise, seconds = rival_subtraction.hotpants(pair, fwhms)
        made = Made(data, noise, mask, science.psf)
        rows += [row(f"{name}: seconds", seconds, "s"), *judge_rows(name, made, pair)]
    else:
        rows.append(row(f"{name} (not installed)", np.nan))
    # At 4096 it needs more memory than a laptop has.
    if side > 2048:
        return [*rows, row(f"sfft {side} (needs some 45 GB)", np.nan)]
    levels = [float(np.median(m.background)) for m in (science, reference)]
    made = rival_subtraction.sfft(pair, fwhms, levels)
    name = f"sfft {side}"
    if made is None:
        return [*rows, row(f"{name} (could not be installed)", np.nan)]
    data, seconds = made
    noise = np.sqrt(science.variance + pair.flux_ratio**2 * reference.variance)
    made = Made(data, noise, mask, science.psf)
    return [
        *rows,
        row(f"{name}: seconds", seconds, "s"),
        *judge_rows(name, made, pair),
    ]


def measure(seed):
    """Return the rows of one seed; 4096 and the rivals by the first seed alone."""
    rows, took = [], {}
    for side in SIDES if seed == 1 else SIDES[:1]:
        pair = make_pair(seed, side=side)
        science, reference = measure_image(pair.science), measure_image(pair.reference)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            save_inputs(folder, pair, science, reference)
            for method in METHODS:
                made, said = run_child(folder, method)
                name = f"{method} {side}"
                took[name] = said["seconds"]
                rows += [
                    row(
                        f"{name}: seconds",
                        said["seconds"],
                        "s",
                        f"<= {GOAL_SECONDS[side]:g}" if method == "auto" else None,
                    ),
                    row(
                        f"{name}: peak memory",
                        said["megabytes"],
                        "MB",
                        f"<= {GOAL_MEGABYTES[side]}" if method == "auto" else None,
                    ),
                    *judge_rows(name, made, pair),
                ]
        if seed == 1:
            rows += rival_rows(pair, side, science, reference)
    if seed == 1:
        ratio = took["auto 4096"] / took["auto 2048"]
        rows.append(row("auto: seconds at 4096 over 2048", ratio, "", "4 is linear"))
    return rows


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2])
