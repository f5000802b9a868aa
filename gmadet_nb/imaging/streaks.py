"""Streaks of satellites: one row each in place of hundreds of candidates."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.photometry import robust_width
from gmadet_nb.imaging.quality import grow

# Pixels of the significance image above this may belong to a streak [sigma].
_PIXEL_SNR = 2.5
_MAX_PIXELS = 60_000
_N_ANGLES = 360
_MAX_STREAKS = 10
# Cells along a line, one FWHM long, that hold such a pixel: a trail fills nearly all,
# residuals of a crowded field a third.
_LEAST_COVERAGE = 0.85
_MAX_GAP = 3  # [cells]
# Median over the significant pixels of a streak; those of noise alone have 3.
_LEAST_SNR = 4.3
_LEAST_LENGTH = 20.0  # [FWHM]
# A streak is narrower than so many FWHM: the lines beside it are that far away.
_BESIDE = 6
# Length over width: an edge-on galaxy has less.
_LEAST_ASPECT = 12.0
# A line this near to the detector's rows or columns is its own [degree].
_ALONG_DETECTOR = 1.0


def find_streaks(snr, exposure_id, *, fwhm):
    """Find straight trails on a significance image.

    A Hough transform of the significant pixels proposes lines; one counts where it is
    filled without long gaps over 20 FWHM or more, masked pixels left out, by pixels
    that are far more frequent on it than on lines beside it.

    Parameters
    ----------
    snr : (ny, nx) array
        From `gmadet_nb.imaging.detect.significance`; 0 where it is masked.
    exposure_id : str
    fwhm : float
        [pixel]

    Returns
    -------
    streaks : astropy.table.Table
        ``exposure_id``, ``x1``, ``y1``, ``x2``, ``y2`` (its ends), ``length``,
        ``width`` (FWHM of its light across), ``reach`` (how far from its middle that
        light is significant) [pixel], ``angle`` (from the x axis, counterclockwise)
        [degree], ``snr`` (median along it), ``kind``: ``streak``, or ``detector`` for
        a line along a row or a column.
    """
    high = snr > _PIXEL_SNR
    if high.sum() > _MAX_PIXELS:
        high = snr > np.partition(snr[high], -_MAX_PIXELS)[-_MAX_PIXELS]
    y, x = (part.astype(float) for part in np.nonzero(high))
    rows, left = [], np.ones(len(x), dtype=bool)
    for _ in range(_MAX_STREAKS):
        if left.sum() < 2 * _LEAST_LENGTH:
            break
        line = _best_line(x[left], y[left], snr.shape, fwhm)
        # Where two cross, each has all of its pixels.
        found = _stretch(line, x, y, snr, fwhm, np.ones_like(left))
        if found is not None and np.count_nonzero(found[0] & left) < _LEAST_LENGTH:
            # That one again: what proposed the line lies beyond a gap.
            found = _stretch(line, x, y, snr, fwhm, left)
        if found is None:
            break
        near, across, ends, line = found
        row = _describe(line, ends, snr, x[near], y[near], across[near])
        narrow = row["length"] >= _LEAST_ASPECT * row["width"]
        if row["snr"] >= _LEAST_SNR and narrow:
            rows.append(row)
        left &= ~near
    return _streaks_table(rows, exposure_id)


def _best_line(x, y, shape, fwhm):
    """Return the angle and the offset of the line with the most pixels on it."""
    angles = np.arange(_N_ANGLES) * np.pi / _N_ANGLES
    diagonal = np.hypot(*shape)
    width = max(1.0, fwhm)
    n_bins = int(2 * diagonal / width) + 2
    best = (-np.inf, 0.0, 0.0)
    for angle in angles:
        offset = y * np.cos(angle) - x * np.sin(angle)
        counts = np.bincount(
            ((offset + diagonal) / width).astype(int), minlength=n_bins
        )
        # Against the lines beside it: a long line through a crowd is no streak.
        padded = np.pad(counts, _BESIDE)
        beside = np.maximum(padded[: -2 * _BESIDE], padded[2 * _BESIDE :])
        score = (counts - beside) / np.sqrt(counts + 25)
        i = int(np.argmax(score))
        if score[i] > best[0]:
            best = (score[i], angle, (i + 0.5) * width - diagonal)
    return best[1:]


def _stretch(line, x, y, snr, fwhm, use):
    """Find the longest filled stretch of a line among some of the pixels.

    Returns
    -------
    near : (n,) bool array
        Which of those used are on it or close by.
    across : (n,) array
        Distance of each pixel from the line [pixel].
    ends : tuple of float
        Along the line [pixel].
    line : tuple of float
        Its angle [radian] and offset [pixel], fitted.

    None in place of all where there is no streak.
    """
    found = _refine(line, x[use], y[use], snr, fwhm)
    if found is None:
        return None
    ends, (angle, offset) = found
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle) - offset
    near = use & (along >= ends[0]) & (along <= ends[1])
    return near & (np.abs(across) <= _BESIDE * fwhm), across, ends, (angle, offset)


def _refine(line, x, y, snr, fwhm):
    """Fit a line to its pixels, and find where it is filled; None for no streak."""
    angle, offset = line
    reach = 4.0 * fwhm
    for _ in range(4):
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle) - offset
        near = np.abs(across) <= reach
        if near.sum() < _LEAST_LENGTH:
            return None
        slope, level = np.polyfit(along[near], across[near], 1)
        angle, offset = angle + np.arctan(slope), offset + level
        reach = max(1.5 * fwhm, 0.7 * reach)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle) - offset
    cells = np.unique(np.floor(along[np.abs(across) <= 0.75 * fwhm] / fwhm).astype(int))
    ends = _filled(cells, _hidden((angle, offset), cells, snr, fwhm), fwhm)
    if ends is None:
        return None
    within = (along >= ends[0]) & (along <= ends[1])
    on_it = np.count_nonzero(within & (np.abs(across) <= 0.75 * fwhm))
    beside = [
        np.count_nonzero(within & (np.abs(across - shift) <= 0.75 * fwhm))
        for shift in (-_BESIDE * fwhm, _BESIDE * fwhm)
    ]
    if on_it < 3 * max(beside):
        return None
    return ends, (angle, offset)


def _hidden(line, cells, snr, fwhm):
    """Return which cells along a line are masked: a trail goes on behind them."""
    if len(cells) == 0:
        return cells
    angle, offset = line
    between = np.arange(cells[0], cells[-1] + 1)
    along = (between + 0.5) * fwhm
    x = np.rint(along * np.cos(angle) - offset * np.sin(angle)).astype(int)
    y = np.rint(along * np.sin(angle) + offset * np.cos(angle)).astype(int)
    ny, nx = snr.shape
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    masked = np.zeros(len(between), dtype=bool)
    masked[inside] = snr[y[inside], x[inside]] == 0
    return np.setdiff1d(between[masked], cells)


def _filled(cells, hidden, fwhm):
    """Return the ends of the longest stretch that is filled, or None."""
    if len(cells) == 0:
        return None
    both = np.union1d(cells, hidden)
    parts = np.split(both, np.flatnonzero(np.diff(both) > _MAX_GAP) + 1)
    parts = [np.intersect1d(part, cells) for part in parts]
    best = max(parts, key=len)
    if len(best) == 0:
        return None
    n_hidden = np.count_nonzero((hidden > best[0]) & (hidden < best[-1]))
    length = best[-1] - best[0] + 1 - n_hidden
    if length < _LEAST_LENGTH or len(best) < _LEAST_COVERAGE * length:
        return None
    return best[0] * fwhm, (best[-1] + 1) * fwhm


def _describe(line, ends, snr, x, y, across):
    angle, offset = line
    (x1, y1), (x2, y2) = (
        (
            e * np.cos(angle) - offset * np.sin(angle),
            e * np.sin(angle) + offset * np.cos(angle),
        )
        for e in ends
    )
    degrees = np.degrees(angle) % 180
    from_axis = min(degrees % 90, 90 - degrees % 90)
    values = snr[y.astype(int), x.astype(int)]
    # Weighted by the light: of a bright trail the wings are significant, too.
    spread = np.sqrt(np.cov(across, aweights=values))
    return {
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "length": ends[1] - ends[0],
        "width": 2.3548 * float(spread),
        "reach": 2 * robust_width(across),
        "angle": degrees,
        "snr": float(np.median(values)),
        "kind": "detector" if from_axis < _ALONG_DETECTOR else "streak",
    }


def _streaks_table(rows, exposure_id):
    names = ("x1", "y1", "x2", "y2", "length", "width", "reach", "angle", "snr")
    table = Table(
        {name: np.array([row[name] for row in rows], dtype=float) for name in names}
    )
    for name in names[:7]:
        table[name].unit = u.pix
    table["angle"].unit = u.deg
    table["kind"] = np.array([row["kind"] for row in rows], dtype="U8")
    table.add_column(
        np.full(len(rows), exposure_id, dtype=f"U{max(1, len(exposure_id))}"),
        name="exposure_id",
        index=0,
    )
    return table


def mask_streaks(mask, streaks, *, fwhm):
    """Mark the pixels of streaks in a mask.

    Parameters
    ----------
    mask : (ny, nx) uint8 array
    streaks : astropy.table.Table
    fwhm : float
        [pixel]

    Returns
    -------
    mask : (ny, nx) uint8 array
        With the bit ``streak``: such a pixel holds no measurement of a point source.
    """
    on_streak = np.zeros(mask.shape, dtype=bool)
    for row in streaks:
        n = int(2 * row["length"]) + 2
        x = np.rint(np.linspace(row["x1"], row["x2"], n)).astype(int)
        y = np.rint(np.linspace(row["y1"], row["y2"], n)).astype(int)
        inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
        on_streak[y[inside], x[inside]] = True
    reach = max(1, round(max([1.5 * fwhm, *streaks["reach"]])))
    marked = mask.copy()
    if on_streak.any():
        marked[grow(on_streak, reach)] |= MASK_BITS["streak"]
    return marked
