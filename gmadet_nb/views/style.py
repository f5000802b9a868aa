"""The look of every figure: colours by word, the style, and the empty panel."""

import seaborn as sns

from gmadet_nb.files.rundir import EMPTY

_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _BROWN, _PINK, _GREY = sns.color_palette(
    "colorblind"
)[:8]

#: One colour a word, the same in every figure; safe for the colour-blind.
COLORS = {
    "real": _BLUE,
    "bogus": _ORANGE,
    "other": _GREY,
    "fit": _GREEN,
    "limit": (0.15, 0.15, 0.15),
    "marker": _PINK,
}
#: Colours of a series, such as bins of magnitude.
SERIES = (_BLUE, _ORANGE, _GREEN, _PURPLE, _BROWN, _PINK)
#: Markers of a series, so that no one needs the colours.
MARKERS = ("o", "s", "^", "D", "v", "P")
#: Where there is no measurement, in every picture.
NO_MEASUREMENT_COLOR = (0.30, 0.26, 0.46)


def use_style():
    """Set the look of every figure, once, in a notebook's import cell."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette="colorblind",
        rc={
            "figure.dpi": 100,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 9.5,
            "legend.frameon": True,
            "legend.framealpha": 0.9,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "image.origin": "lower",
            "image.interpolation": "nearest",
        },
    )


def draw_none(ax, text="none"):
    """Say in an empty panel that there was nothing to draw.

    `RunDir.save_figure` knows a figure of such panels alone by their mark.
    """
    ax.set(xticks=[], yticks=[], gid=EMPTY)
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color="0.45",
        fontsize=12,
    )
    return ax


def legend_above(ax):
    """Put the legend over the axes, where it hides nothing."""
    labels = ax.get_legend_handles_labels()[1]
    # About 60 letters, with a handle of some 5 each, are as wide as a panel.
    wide = sum(len(label) + 5 for label in labels) > 60
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2 if wide and len(labels) < 5 else 3,
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1.2,
    )
