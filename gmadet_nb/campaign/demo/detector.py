"""What the demo's camera makes of the light: noise, charge and faults."""

import astropy.units as u
import numpy as np
from astropy.table import Column, Table

from gmadet_nb.campaign.demo import plan


def draw_detector(*, shape, seed):
    """Draw the faults of the detector: 250 hot pixels on 1024 x 1024, 3 columns.

    Returns
    -------
    faults : astropy.table.Table
        ``kind`` (``hot_pixel``, ``dead_column``, ``weak_column``,
        ``hot_column``), ``x``, ``y`` [pixel] (a hot column begins at ``y``) and
        ``value``: what a hot one adds [adu], what a weak column lets through.
    """
    rng = np.random.default_rng([seed, plan.DETECTOR])
    ny, nx = shape
    n_hot = max(20, round(250 * ny * nx / 2**20))
    pixels = rng.choice(ny * nx, n_hot, replace=False)
    columns = (nx * np.array([0.17, 0.55, 0.83]) + rng.integers(-9, 10, 3)).astype(int)
    kinds = ["hot_pixel"] * n_hot + ["dead_column", "weak_column", "hot_column"]
    hot_from = int(0.88 * ny)  # where the hot column begins
    # 30 to 7,500 adu, log-uniform: the faint third hides in the noise.
    values = [*np.round(30 * 250 ** rng.random(n_hot), 1), 0.0, 0.7, 150.0]
    return Table(
        {
            "kind": kinds,
            "x": Column(np.concatenate([pixels % nx, columns]), unit=u.pix),
            "y": Column(np.concatenate([pixels // nx, [0, 0, hot_from]]), unit=u.pix),
            "value": values,
        }
    )


def draw_cosmic_rays(shape, n_rays, *, rng):
    """Draw the charge that cosmic rays leave [adu], not blurred by the optics.

    Half of them fill one pixel, half are straight tracks of 2 to 12 pixels;
    the brightest pixel of each holds 200 to 20,000 adu, log-uniform.
    """
    charge = np.zeros(shape)
    for _ in range(n_rays):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        length = 0.0 if rng.random() < 0.5 else rng.uniform(1.5, 12)
        angle, peak = rng.uniform(0, np.pi), 200 * 100 ** rng.random()
        # Ten points a pixel: a pixel's share is the length of the track in it.
        along = np.arange(0, length + 0.05, 0.1)
        rows = np.floor(y + along * np.sin(angle)).astype(int)
        columns = np.floor(x + along * np.cos(angle)).astype(int)
        inside = (rows >= 0) & (rows < shape[0])
        inside &= (columns >= 0) & (columns < shape[1])
        pixels, points = np.unique(
            rows[inside] * shape[1] + columns[inside], return_counts=True
        )
        charge.flat[pixels] += peak * points / max(points, default=1)
    return charge


def bleed(charge, *, full_well):
    """Let the charge above the full well flow along the columns.

    Half of a pixel's excess runs up and half down, each filling the next
    pixels of its column to the full well; what reaches the edge is lost.

    Parameters
    ----------
    charge : (ny, nx) array
        Charge before it flows.
    full_well : float
        Most that a pixel holds, in the unit of ``charge``.

    Returns
    -------
    charge : (ny, nx) array
        Charge at the end, nowhere above ``full_well``.
    """
    settled = np.minimum(charge, full_well)
    columns = np.flatnonzero((charge > full_well).any(axis=0))
    half = (charge[:, columns] - settled[:, columns]) / 2
    held = settled[:, columns]
    for rows in (range(len(charge)), range(len(charge) - 1, -1, -1)):
        flowing = np.zeros(len(columns))
        for row in rows:
            total = held[row] + half[row] + flowing
            held[row] = np.minimum(total, full_well)
            flowing = total - held[row]
    settled[:, columns] = held
    return settled


def take_photons(exposure, expected, *, n_cosmic_rays, faults, rng):
    """Draw one frame: photon noise, cosmic rays, bleeding, read-out noise.

    Parameters
    ----------
    exposure : Exposure
        Its gain and read noise are used.
    expected : (ny, nx) array
        Mean counts [adu].
    n_cosmic_rays : int
        Hits on the detector.
    faults : astropy.table.Table
        A dead column passes no charge on.
    rng : numpy.random.Generator
        Draws everything.

    Returns
    -------
    data : (ny, nx) array
        Counts as read out [adu], not yet digitized.
    """
    charge = rng.poisson(expected * exposure.gain) / exposure.gain
    charge += draw_cosmic_rays(exposure.shape, n_cosmic_rays, rng=rng)
    charge = bleed(charge, full_well=plan.FULL_WELL)
    charge[:, np.asarray(faults["x"][faults["kind"] == "dead_column"])] = 0.0
    return charge + rng.normal(
        0, exposure.read_noise / exposure.gain, size=exposure.shape
    )
