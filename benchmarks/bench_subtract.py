"""Image subtraction at 2048 and 4096 pixels: time, memory, noise, stars, transients.

Each run of ours is a process of its own, so that its memory can be told. All tools get
the same registered images, and the same matched filter and truth judge their
differences.
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

from benchmarks import rival_subtraction, rivals
from benchmarks.field import make_pair
from benchmarks.judge import Made, judge_rows
from benchmarks.measured import measure_image
from benchmarks.tables import row
from gmadet_nb.files.images import MASK_BITS, Image
from gmadet_nb.imaging.convolve import convolve
from gmadet_nb.imaging.psf import read_psf, write_psf
from gmadet_nb.imaging.quality import grow
from gmadet_nb.imaging.subtract import subtract
from gmadet_nb.sky.references import Reference

SIDES = (2048, 4096)
METHODS = ("auto", "zogy", "kernel")
# Half of what tuned HOTPANTS once took on such a pair; where it is installed, its time
# in the same run counts.
GOAL_SECONDS = {2048: 2, 4096: 10}
GOAL_MEGABYTES = {2048: 700, 4096: 1800}
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
    """Subtract in this process; print the least time of warm calls, and the memory."""
    science, variance, reference, psf, stars = load_inputs(folder)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        made = subtract(
            science,
            variance,
            reference,
            psf=psf,
            stars=stars,
            method=method,
            degree=2 if method == "kernel" else 1,
        )
        seconds.append(time.process_time() - start)
    said = {"seconds": min(seconds[1:]), "megabytes": peak_memory()}
    np.savez(folder / "made.npz", data=made.data, noise=made.noise, mask=made.mask)
    write_psf(folder / "made.fits", made.psf)
    print(json.dumps(said | {"method": made.method, "factor": made.noise_factor}))


def peak_memory():
    """Return the most memory that this process has held [MB]."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says on Linux starts from the memory of the parent.
        peak = status.read_text().split("VmHWM:")[1].split()[0]
        return float(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # macOS: bytes


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


def rival_mask(pair):
    """Mask what a tool that makes no mask of its own cannot be held to."""
    mask = pair.science.mask | pair.reference.mask
    return mask | np.where(grow(mask > 0, 8), MASK_BITS["bad"], 0).astype(np.uint8)


def hotpants_rows(pair, side, science, reference, ours):
    """Return the rows of HOTPANTS, and of its time beside ours."""
    name = f"HOTPANTS {side}"
    if not rivals.find("hotpants"):
        return [row(f"{name} (not installed)", np.nan)]
    fwhms = science.psf.fwhm, reference.psf.fwhm
    data, noise, seconds = rival_subtraction.hotpants(pair, fwhms)
    mask = rival_mask(pair)
    mask[~np.isfinite(noise)] |= MASK_BITS["bad"]
    return [
        row(f"{name}: seconds", seconds, "s"),
        row(f"auto {side}: seconds over HOTPANTS's", ours / seconds, "", "<= 0.5"),
        *judge_rows(name, Made(data, noise, mask, science.psf), pair),
    ]


def sfft_rows(pair, side, science, reference):
    """Return the rows of sfft."""
    name = f"sfft {side}"
    # 11 GB at 2048: more at 4096 than a laptop has.
    if side > 2048:
        return [row(f"{name} (needs some 45 GB)", np.nan)]
    fwhms = science.psf.fwhm, reference.psf.fwhm
    levels = [float(np.median(m.background)) for m in (science, reference)]
    made = rival_subtraction.sfft(pair, fwhms, levels)
    if made is None:
        return [row(f"{name} (could not be installed)", np.nan)]
    data, kernel, seconds = made
    noise = np.sqrt(science.variance + convolve(reference.variance, kernel**2))
    made = Made(data, noise, rival_mask(pair), science.psf)
    return [row(f"{name}: seconds", seconds, "s"), *judge_rows(name, made, pair)]


def our_rows(pair, side, science, reference):
    """Return the rows of our methods, and the seconds of each."""
    rows, took = [], {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save_inputs(folder, pair, science, reference)
        for method in METHODS:
            made, said = run_child(folder, method)
            name, took[method] = f"{method} {side}", said["seconds"]
            # The goals are those of what a run takes by default.
            time_goal, memory_goal = (
                f"<= {goal[side]}" if method == "auto" else None
                for goal in (GOAL_SECONDS, GOAL_MEGABYTES)
            )
            rows += [
                row(f"{name}: seconds", said["seconds"], "s", time_goal),
                row(f"{name}: peak memory", said["megabytes"], "MB", memory_goal),
                *judge_rows(name, made, pair),
            ]
    return rows, took


def measure(seed):
    """Return the rows of one seed; 4096 and sfft by the first seed alone."""
    rows, seconds = [], {}
    for side in SIDES if seed == 1 else SIDES[:1]:
        pair = make_pair(seed, side=side)
        measured = measure_image(pair.science), measure_image(pair.reference)
        ours, took = our_rows(pair, side, *measured)
        seconds[side] = took["auto"]
        rows += [*ours, *hotpants_rows(pair, side, *measured, took["auto"])]
        if seed == 1:
            rows += sfft_rows(pair, side, *measured)
    if seed == 1:
        ratio = seconds[4096] / seconds[2048]
        rows.append(row("auto: seconds at 4096 over 2048", ratio, "", "4 is linear"))
    return rows


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2])
