"""What was found on a difference image, by kind."""

import numpy as np

from gmadet_nb.imaging.kinds import KINDS, kinds_of
from gmadet_nb.learning.cutouts import cut
from gmadet_nb.views.plots import show_image
from gmadet_nb.views.plots_sheets import cutout_sheet
from gmadet_nb.views.stretch import robust_sigma
from gmadet_nb.views.style import MARKERS, SERIES

_STREAK_COLOR = SERIES[1]


def kinds_on_image(difference, candidates, negatives, streaks, *, ax):
    """Mark candidates, missing light and streaks on a difference image.

    Parameters
    ----------
    difference : (ny, nx) array
        [adu]
    candidates, negatives, streaks : astropy.table.Table
        Of the same exposure; the last two may have no columns where there are none.
    """
    reach = 5 * robust_sigma(difference) or 1.0
    show_image(difference, ax=ax, vmin=-reach, vmax=reach)
    kinds = kinds_of(candidates)
    for kind, marker, color in zip(KINDS, MARKERS, SERIES, strict=True):
        table = negatives if kind == "negative" else candidates[kinds == kind]
        if not len(table):
            continue
        ax.scatter(
            table["x"],
            table["y"],
            marker=marker,
            s=70,
            facecolors="none",
            edgecolors=[color],
            linewidths=1.3,
            label=f"{kind}: {len(table)}",
        )
    for i, row in enumerate(streaks):
        ax.plot(
            [row["x1"], row["x2"]],
            [row["y1"], row["y2"]],
            color=_STREAK_COLOR,
            lw=1.5,
            ls=(0, (6, 4)),
            label=None if i else f"streaks: {len(streaks)}",
        )
    ny, nx = np.shape(difference)
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
    if ax.get_legend_handles_labels()[1]:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, frameon=False
        )
    return ax


def kinds_sheet(planes, examples, *, size, title=""):
    """Make a contact sheet of examples of each kind.

    Parameters
    ----------
    planes : sequence of three (ny, nx) arrays
        Science, reference and difference [adu].
    examples : astropy.table.Table
        From `gmadet_nb.imaging.kinds.pick_examples`.
    size : int
        Side of the cutouts [pixel].

    Returns
    -------
    matplotlib.figure.Figure
    """
    pixels, _ = cut(planes, examples["x"], examples["y"], size=size)
    captions = [f"{row['kind']}\nS/N {row['snr']:.1f}" for row in examples]
    return cutout_sheet(pixels, captions, title=title)
