"""What was found on a difference image, by kind."""

import numpy as np

from gmadet_nb.imaging.kinds import KINDS, STREAK_KINDS, kinds_of
from gmadet_nb.views.plots import show_image
from gmadet_nb.views.plots_sheets import cutout_sheet
from gmadet_nb.views.stretch import robust_sigma
from gmadet_nb.views.style import MARKERS, SERIES

_STREAK_STYLES = (
    {"ls": "-", "color": SERIES[1]},
    {"ls": (0, (2, 3)), "color": SERIES[3]},
)
# A sheet has about as many cutouts in each of its rows.
_WIDEST = 10


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
    for (kind, name), style in zip(STREAK_KINDS, _STREAK_STYLES, strict=True):
        _outline(
            streaks[streaks["kind"] == kind] if len(streaks) else (), name, ax, style
        )
    ny, nx = np.shape(difference)
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
    if ax.get_legend_handles_labels()[1]:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, frameon=False
        )
    return ax


def _outline(streaks, name, ax, style):
    """Draw both rims of the pixels that each streak masks, which stay in view."""
    for i, row in enumerate(streaks):
        angle = np.radians(row["angle"])
        for side in (-1, 1):
            dx, dy = (
                side * row["reach"] * part for part in (-np.sin(angle), np.cos(angle))
            )
            ax.plot(
                [row["x1"] + dx, row["x2"] + dx],
                [row["y1"] + dy, row["y2"] + dy],
                lw=1.5,
                label=None if i or side > 0 else f"{name}: {len(streaks)}",
                **style,
            )


def kinds_sheet(pixels, examples, *, shown=""):
    """Make a contact sheet of examples of each kind.

    Parameters
    ----------
    pixels : (n, size, size, 3) array
        Cutouts of science, reference and difference [adu].
    examples : astropy.table.Table
        From `gmadet_nb.imaging.kinds.pick_examples`.
    shown : str
        Exposure that needs no mention: the title has it.

    Returns
    -------
    matplotlib.figure.Figure
    """
    captions = [
        f"{row['kind']}\nS/N {row['snr']:.1f}"
        + ("" if row["exposure_id"] == shown else f"\n{row['exposure_id']}")
        for row in examples
    ]
    n_rows = -(-len(examples) // _WIDEST) or 1
    n_columns = max(-(-len(examples) // n_rows), 6)
    return cutout_sheet(pixels, captions, n_columns=n_columns, title=shown)
