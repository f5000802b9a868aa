"""Injected minus recovered: place, flux and their pulls at three gains.

Twice: in what the injection added, by the check of 02_simulate; and on the sky of the
exposure, by the fit that measures candidates.
"""

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.field import make_pair
from benchmarks.measured import measure_image
from benchmarks.tables import row
from gmadet_nb.files.images import UNUSABLE
from gmadet_nb.imaging import simulate
from gmadet_nb.imaging.measure import measure_candidates
from gmadet_nb.imaging.photometry import measure_noise, robust_width
from gmadet_nb.imaging.self_check import recover_sources
from gmadet_nb.imaging.subtract import no_reference

GAINS = (0.5, 1.0, 4.0)
_SNR = 100.0
_N = 3000
_FREE = 22.0  # [pixel] from any star


def inject(image, measured, rng):
    """Inject sources of S/N 100."""
    drawn = simulate.draw_sources(
        image,
        measured.psf,
        measured.variance,
        n_sources=_N,
        brightness=("snr", _SNR * 0.999, _SNR * 1.001),
        galaxies=(0.0, measured.sources[:0]),
        min_separation=8.0,
        rng=rng,
    )
    return simulate.inject_sources(image, drawn, measured.psf, rng=rng)


def on_the_sky(pair, after, measured, sources):
    """Measure the sources that stand free, on the exposure less its true sky."""
    stars = cKDTree(np.column_stack([pair.stars["x"], pair.stars["y"]]))
    there = cKDTree(np.column_stack([pair.transients["x"], pair.transients["y"]]))
    xy = np.column_stack([sources["x"], sources["y"]]).astype(float)
    free = (stars.query(xy)[0] > _FREE) & (there.query(xy)[0] > _FREE)
    free &= ((xy > 30) & (xy < after.data.shape[0] - 31)).all(axis=1)
    bad = ((after.mask & UNUSABLE) > 0) | pair.rays
    spoilt = cKDTree(np.column_stack(np.nonzero(bad)[::-1]))
    free &= spoilt.query(xy)[0] > 10
    kept, xy = sources[free], np.rint(xy[free]).astype(int)
    # Of the exposure with the sources in it, as a search would have it.
    variance = measure_noise(pair.science).variance(after.data)
    difference = no_reference(after, variance, measured.background, measured.psf)
    found = measure_candidates(
        difference,
        after,
        measured.psf,
        *xy.T,
        reference_sources=measured.sources[:0],
    )
    return kept, found


def measure(seed):
    """Return the rows of one seed."""
    rows = []
    for gain in GAINS:
        pair = make_pair(seed, gain=gain, side=1536)
        measured = measure_image(pair.science)
        rng = np.random.default_rng([seed, 5])
        after, sources = inject(pair.science, measured, rng)
        sky = float(np.median(measured.variance))
        check = recover_sources(
            pair.science, after, measured.psf, sources, sky_variance=sky
        )
        name = f"injection, gain {gain:g}"
        bias = max(abs(np.mean(check["dx"])), abs(np.mean(check["dy"])))
        rows.append(row(f"{name}: centroid bias at S/N 100", bias, "px", "< 0.01"))
        for part in ("flux", "x", "y"):
            width = robust_width(np.asarray(check[f"pull_{part}"]))
            rows.append(row(f"{name}: width of pulls, {part}", width, "", "0.95-1.05"))
        kept, found = on_the_sky(pair, after, measured, sources)
        for part in ("x", "y", "flux"):
            left = np.asarray(found[part] - kept[part], dtype=float)
            pull = left / np.asarray(found[f"{part}_err"], dtype=float)
            rows.append(
                row(f"{name}: on the sky, width of pulls, {part}", robust_width(pull))
            )
        rows.append(row(f"{name}: on the sky, sources", len(kept)))
    return rows
