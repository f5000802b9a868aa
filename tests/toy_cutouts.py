"""Toy candidates for the tests of `gmadet_nb.learning`: round sources and artefacts."""

import numpy as np
from astropy.table import Table

from gmadet_nb.learning import dataset, folds, splitting
from gmadet_nb.learning.cutouts import create_store
from gmadet_nb.learning.labels import read_labels


def make_pixels(is_real, *, size, rng, noise=5.0):
    """Draw Gaussian sources, or hot pixels and dipoles, on noise."""
    y, x = np.mgrid[:size, :size].astype(float)
    pixels = noise * rng.standard_normal((len(is_real), size, size, 3))
    pixels[..., 0] += 200.0
    for i, real in enumerate(is_real):
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        star = np.exp(-((x - size // 2 - dx) ** 2 + (y - size // 2 - dy) ** 2) / 4)
        shape = star
        if not real and i % 2:
            shape = (x == size // 2) & (y == size // 2)
        elif not real:
            shape = np.roll(star, 1, axis=1) - np.roll(star, -1, axis=1)
        peak = noise * np.exp(rng.uniform(np.log(4), np.log(40)))
        pixels[i, ..., [0, 2]] += peak * shape
    return pixels.astype(np.float32)


def make_candidates(n_exposures, n_each, *, rng, shape=(1000, 1200)):
    """Draw candidates on dithered exposures: a third of their places come again.

    Half of them are injected and real, the rest labelled bogus.
    """
    ny, nx = shape
    first = rng.uniform(40, [nx - 40, ny - 40], (n_each, 2))
    rows = []
    for e in range(n_exposures):
        xy = rng.uniform(40, [nx - 40, ny - 40], (n_each, 2))
        xy[: n_each // 3] = first[: n_each // 3] + rng.normal(0, 0.2, (n_each // 3, 2))
        for i, (x, y) in enumerate(xy):
            kind = "bogus" if i < n_each // 2 else "real"
            origin = "unmatched" if kind == "bogus" else "injected"
            place = (150 + (x + 7 * e) / 3600, -30 + (y - 5 * e) / 3600)
            name = f"night_{e}_c{i:05d}"
            rows.append((name, f"night_{e}", x, y, *place, 3.0, kind, origin))
    names = ["candidate_id", "exposure_id", "x", "y", "ra", "dec", "psf_fwhm"]
    table = Table(rows=rows, names=[*names, "auto_label", "auto_origin"])
    table["snr"] = rng.uniform(4, 40, len(table))
    table["mag"] = rng.uniform(15, 20, len(table))
    table["mag_err"], table["fwhm"], table["filter"] = 0.1, 3.1, "r"
    return table


def no_labels():
    """Return the table of labels when nobody has labelled."""
    return read_labels("/there/is/no/such/folder")


def write_store(path, candidates, *, size, rng):
    """Write a store with a toy cutout for each candidate."""
    with create_store(path, size=size) as writer:
        for exposure_id in np.unique(candidates["exposure_id"]):
            here = candidates[candidates["exposure_id"] == exposure_id]
            pixels = make_pixels(here["auto_label"] == "real", size=size, rng=rng)
            writer.append(here["candidate_id"], exposure_id, pixels)


def split_toy(candidates, *, margin, seed=1, human=None, **fractions):
    """Divide toy candidates into parts, as 07_dataset does."""
    defaults = {
        "calibration_fraction": 0.2,
        "test_fraction": 0.2,
        "validation_fraction": 0.15,
        "bogus_fraction": 0.0,
    }
    return splitting.split_by_exposure(
        dataset.gather_labels(candidates, no_labels() if human is None else human),
        candidates,
        **(defaults | fractions),
        margin=margin,
        pixel_scale=1.0,
        rng=np.random.default_rng(seed),
    )


def fold_toy(split, candidates, *, margin, n_folds, seed=2):
    """Divide what is not in the test part into folds, as 07_dataset does."""
    return folds.make_folds(
        split,
        candidates,
        n_folds=n_folds,
        margin=margin,
        pixel_scale=1.0,
        rng=np.random.default_rng(seed),
    )
