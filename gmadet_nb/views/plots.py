"""Figures of images, of point spread functions and of cutouts: one function each.

Data come first and ``ax`` (or ``axes``) last; it is drawn into and returned.
Nothing here touches pyplot, so the functions work in a worker or a thread as well.
The figures of the checks are in `gmadet_nb.views.plots_checks`.
"""

import io

import matplotlib as mpl
import numpy as np
import seaborn as sns
from astropy.visualization import ZScaleInterval
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from gmadet_nb.views.stretch import WHITE, robust_sigma, stretch_triplets

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
#: Where there is no measurement, in every picture.
NO_MEASUREMENT_COLOR = (0.30, 0.26, 0.46)

_MAX_NAMES = 40


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


class Sheet(Figure):
    """A figure that shows itself in a notebook whether pyplot is in use or not."""

    def __init__(self, *, width, height):
        super().__init__(figsize=(width, height))
        # Places are absolute: a layout from the style, now or after a first save,
        # would move them.
        self.set_layout_engine(
            PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
        )

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def draw_none(ax, text="none"):
    """Say in an empty panel that there was nothing to draw."""
    ax.set(xticks=[], yticks=[])
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


def show_image(data, *, ax, title="", vmin=None, vmax=None):
    """Show an image in grey, row 0 at the bottom, with the zscale stretch.

    Parameters
    ----------
    data : (ny, nx) array or Image
        Pixels [adu]; those that are NaN are drawn in violet.
    vmin, vmax : float, optional
        Counts shown black and white [adu]; those of zscale where not given.
    """
    data = _pixels(data)
    low, high = _zscale(data)
    ax.imshow(
        data,
        origin="lower",
        cmap=_grey_map(),
        vmin=low if vmin is None else vmin,
        vmax=high if vmax is None else vmax,
    )
    ax.set(title=title, xlabel="x [pixel]", ylabel="y [pixel]")
    return ax


def fwhm_per_exposure(exposures, *, ax):
    """Draw the FWHM of every exposure; the ones set aside have a cross."""
    _per_exposure(exposures, "fwhm", ax=ax)
    ax.set_xlabel("FWHM [pixel]")
    return ax


def noise_per_exposure(exposures, *, column="limiting_mag", ax):
    """Draw the depth of every exposure.

    ``column`` is the limiting magnitude, ``background``, ``background_rms`` or
    ``noise``.
    """
    _per_exposure(exposures, column, ax=ax)
    words = {"limiting_mag": "limiting magnitude", "background_rms": "background RMS"}
    unit = exposures[column].unit
    unit = f" [{unit}]" if unit else ""
    ax.set_xlabel(words.get(column, column.replace("_", " ")) + unit)
    return ax


def fwhm_map(psf, shape, *, ax, n_points=12):
    """Draw the FWHM of the PSF over an image of ``shape`` (ny, nx) [pixel]."""
    ny, nx = shape
    x = (np.arange(n_points) + 0.5) * nx / n_points - 0.5
    y = (np.arange(n_points) + 0.5) * ny / n_points - 0.5
    fwhm = np.array([[float(psf.fwhm_at(px, py)) for px in x] for py in y])
    # A PSF that does not vary must look flat: the scale spans at least 0.02 pixel.
    middle = np.nanmean(fwhm)
    half = max(np.nanmax(np.abs(fwhm - middle)), 0.01)
    shown = ax.imshow(
        fwhm,
        origin="lower",
        cmap="viridis",
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5),
        vmin=middle - half,
        vmax=middle + half,
    )
    ax.figure.colorbar(shown, ax=ax, label="FWHM [pixel]", shrink=0.85)
    ax.set(xlabel="x [pixel]", ylabel="y [pixel]")
    return ax


def psf_grid(psf, shape, *, axes):
    """Draw the PSF at the middles of 3 x 3 parts of an image, the top row on top.

    The stretch (square root, one for all) shows the wings.
    """
    ny, nx = shape
    rows, columns = np.shape(axes)
    stamps = {}
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) * nx / columns, (rows - row - 0.5) * ny / rows
            stamps[row, column] = (round(x), round(y))
    images = {key: np.asarray(psf(*place)) for key, place in stamps.items()}
    top = max(image.max() for image in images.values())
    for key, image in images.items():
        ax, (x, y) = axes[key], stamps[key]
        ax.imshow(
            np.sqrt(np.clip(image, 0, None)),
            origin="lower",
            cmap="viridis",
            vmin=0,
            vmax=np.sqrt(top),
        )
        _no_ticks(ax)
        ax.set_title(f"x {x}, y {y} [pixel]", fontsize=9)
    return axes


def before_after(before, after, sources, *, axes, center=None, half_size=None):
    """Show an image without and with its injected sources, each in a circle.

    Parameters
    ----------
    before, after : (ny, nx) array or Image
        Pixels [adu]. Both have the stretch of the first.
    sources : astropy.table.Table
        ``x``, ``y`` [pixel].
    axes : sequence of 2 Axes
    center : tuple of float, optional
        ``(x, y)`` [pixel] around which to show ``half_size`` pixels each way.
    """
    before, after = _pixels(before), _pixels(after)
    low, high = _zscale(before)
    for ax, data, title in zip(axes, (before, after), ("before", "after"), strict=True):
        show_image(data, ax=ax, title=title, vmin=low, vmax=high)
        if center is not None:
            ax.set_xlim(center[0] - half_size, center[0] + half_size)
            ax.set_ylim(center[1] - half_size, center[1] + half_size)
        width = np.ptp(ax.get_xlim())
        ax.scatter(
            sources["x"],
            sources["y"],
            s=60 if width > 400 else 260,
            facecolors="none",
            edgecolors=[COLORS["bogus"]],
            linewidths=1.2,
        )
    axes[0].set_title("before (circles: where sources will be)")
    axes[1].set_title(f"after ({len(sources)} injected)")
    return axes


def triplet(science, reference, difference, *, axes, x=None, y=None):
    """Show science, reference and difference side by side.

    Science and reference have one stretch in counts above their own median (the
    reference may carry no background); the difference has a symmetric one,
    +-5 robust sigma around zero.

    Parameters
    ----------
    science, reference, difference : (ny, nx) array or Image
        Pixels [adu] on the science exposure's scale.
    x, y : float, optional
        Place to mark [pixel].
    """
    science, reference = _pixels(science), _pixels(reference)
    difference = _pixels(difference)
    science = science - np.nanmedian(science)
    if np.isfinite(reference).any():
        reference = reference - np.nanmedian(reference)
    low, high = _zscale(science)
    reach = 5 * robust_sigma(difference) or 1.0
    show_image(science, ax=axes[0], title="science", vmin=low, vmax=high)
    show_image(reference, ax=axes[1], title="reference", vmin=low, vmax=high)
    show_image(difference, ax=axes[2], title="difference", vmin=-reach, vmax=reach)
    for ax in axes:
        ax.label_outer()
        if x is not None:
            _reticle(ax, x, y)
    return axes


def noise_histogram(difference, noise, mask, *, ax):
    """Draw the difference over its expected noise with the unit Gaussian.

    Parameters
    ----------
    difference, noise : (ny, nx) array
        Pixels and their expected standard deviation [adu].
    mask : (ny, nx) array
        Pixels other than 0 are left out.
    """
    ratio = (_pixels(difference) / _pixels(noise))[np.asarray(mask) == 0]
    ratio = ratio[np.isfinite(ratio)]
    ax.set(xlabel="difference / expected noise [sigma]", ylabel="pixels per sigma")
    if ratio.size == 0:
        return draw_none(ax, "no unmasked pixel")
    edges = np.linspace(-8, 8, 81)
    counts, _ = np.histogram(np.clip(ratio, edges[0], edges[-1]), bins=edges)
    density = counts / np.diff(edges)
    width = robust_sigma(ratio)
    ax.stairs(
        density,
        edges,
        fill=True,
        color=COLORS["real"],
        alpha=0.55,
        label=f"pixels, robust width {width:.3f}",
    )
    fine = np.linspace(-6, 6, 301)
    gaussian = ratio.size * np.exp(-0.5 * fine**2) / np.sqrt(2 * np.pi)
    ax.plot(fine, gaussian, color=COLORS["limit"], lw=1.5, label="unit Gaussian")
    # The headroom keeps the legend off the curve.
    ax.set(yscale="log", ylim=(0.5, 30 * gaussian.max()), xlim=(-8, 8))
    ax.legend(loc="upper center", ncols=2)
    return ax


def cutout_sheet(pixels, captions, *, n_columns=10, title=""):
    """Make a contact sheet: science over reference over difference, each captioned.

    Parameters
    ----------
    pixels : (n, size, size, 3) array
        Cutouts [adu], NaN where not measured.
    captions : sequence of n str
        One or two short lines below each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    n = len(pixels)
    if n != len(captions):
        raise ValueError(
            f"A sheet needs one caption a cutout, got {len(captions)} for {n} cutouts."
        )
    n_rows = max(1, -(-n // n_columns))
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    inch = 11.0 / (n_columns + 0.3)  # of one cutout and the gap beside it
    longest = max(
        (len(line) for text in captions for line in text.split("\n")), default=1
    )
    # A letter is about 0.58 of the font's size wide; 72 points are an inch.
    size = np.clip(72 * inch / (0.58 * max(longest, 1)), 5, 8)
    # The caption and a gap, as a share of the side of a cutout.
    below = (0.09 + 0.125 * lines) / inch + 0.10
    top = 0.40 if title else 0.08  # [inch]
    height = n_rows * (3.06 + below) * inch + top
    fig = Sheet(width=11.0, height=height if n else 1.2)
    if title:
        fig.text(
            0.5,
            1 - 0.5 * top / fig.get_figheight(),
            title,
            ha="center",
            va="center",
            fontsize=12,
        )
    if n == 0:
        ax = fig.add_axes((0, 0, 1, 0.6))
        ax.axis("off")
        draw_none(ax)
        return fig
    ax = fig.add_axes((0, 0, 1, 1 - top / height))
    ax.set(xlim=(-0.3, n_columns), ylim=(n_rows * (3.06 + below), 0))
    ax.axis("off")
    grey = stretch_triplets(pixels)
    for index, caption in enumerate(captions):
        row, column = divmod(index, n_columns)
        y = row * (3.06 + below)
        for plane in range(3):
            bottom = y + 1.03 * plane + 1
            ax.imshow(
                grey[index, ..., plane],
                cmap=_palette(),
                vmin=0,
                vmax=255,
                origin="lower",
                interpolation="nearest",
                extent=(column + 0.02, column + 0.97, bottom, bottom - 1 + 0.05),
                aspect="auto",
            )
        ax.text(
            column + 0.495,
            y + 3.12,
            caption,
            ha="center",
            va="top",
            fontsize=size,
            linespacing=1.05,
        )
    for row in range(n_rows):
        for plane, name in enumerate(("science", "reference", "difference")):
            ax.text(
                -0.02,
                row * (3.06 + below) + 1.03 * plane + 0.5,
                name,
                rotation=90,
                ha="right",
                va="center",
                fontsize=9,
            )
    ax.set(xlim=(-0.3, n_columns), ylim=(n_rows * (3.06 + below), 0))
    return fig


def candidate_sheet(store, candidate_ids, captions, *, title=""):
    """Make a contact sheet of some candidates of a cutout store.

    Parameters
    ----------
    store : gmadet_nb.learning.cutouts.CutoutStore
        Gives the pixels.
    candidate_ids : sequence of str
        Which, in the order to show them.
    captions : dict
        candidate_id -> text below its cutout.

    Returns
    -------
    matplotlib.figure.Figure
    """
    texts = [captions[key] for key in candidate_ids]
    return cutout_sheet(store.read(candidate_ids), texts, title=title)


def recovered_position(crossmatch, candidates, sources, *, axes):
    """Draw recovered minus injected: position, flux, and both over their errors.

    The position's expected error in x and in y is sqrt(2) FWHM / (2.355 S/N), the
    least there can be for a Gaussian profile on the noise of the background (a
    bright source, with its own photons' noise, does better by up to sqrt(2)); the
    flux's is the candidate's own ``flux_err``. Right errors give the unit Gaussian.

    Parameters
    ----------
    crossmatch, candidates, sources : astropy.table.Table
        As in the run folder; joined by ``source_id`` and ``candidate_id``.
    axes : sequence of 3 Axes
    """
    found = join_matched(crossmatch, candidates, sources)
    axes[0].set(
        xlabel="recovered − injected x [pixel]", ylabel="recovered − injected y [pixel]"
    )
    axes[1].set(xlabel="injected magnitude [mag]", ylabel="recovered / injected flux")
    axes[2].set(xlabel="(recovered − injected) / its error", ylabel="density")
    if len(found) == 0:
        for ax in axes:
            draw_none(ax)
        return axes
    dx, dy = found["x"] - found["x_source"], found["y"] - found["y_source"]
    axes[0].scatter(dx, dy, s=10, alpha=0.6, color=COLORS["real"], lw=0)
    reach = 1.15 * max(np.percentile(np.hypot(dx, dy), 98), 1e-3)
    axes[0].set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes[0].axhline(0, color="0.5", lw=0.8)
    axes[0].axvline(0, color="0.5", lw=0.8)
    # Adding 0.0 makes of -0.0 a 0.0.
    middle = [round(float(np.median(values)), 3) + 0.0 for values in (dx, dy)]
    axes[0].set_title(f"median {middle[0]:.3f}, {middle[1]:.3f} pixel")
    ratio = found["flux"] / found["flux_source"]
    axes[1].scatter(
        found["mag_source"], ratio, s=10, alpha=0.6, color=COLORS["real"], lw=0
    )
    axes[1].axhline(1, color=COLORS["limit"], lw=1)
    reach = np.clip(1.1 * np.percentile(np.abs(ratio - 1), 98), 0.05, 2)
    axes[1].set(ylim=(1 - reach, 1 + reach))
    axes[1].set_title(f"median {np.median(ratio):.3f}")
    _pulls(found, dx, dy, ax=axes[2])
    return axes


def join_matched(crossmatch, candidates, sources):
    """Return one row a matched source: the candidate's columns and the source's.

    The source's ``x``, ``y``, ``mag`` and ``flux`` carry the ending ``_source``.
    """
    matched = crossmatch[np.asarray(crossmatch["match"]) == "matched"]
    row_of = {key: row for row, key in enumerate(candidates["candidate_id"])}
    found = candidates[[row_of[key] for key in matched["candidate_id"]]].copy()
    row_of = {key: row for row, key in enumerate(sources["source_id"])}
    origin = sources[[row_of[key] for key in matched["source_id"]]]
    for name in ("x", "y", "mag", "flux"):
        found[f"{name}_source"] = origin[name]
    return found


def _pulls(found, dx, dy, *, ax):
    fwhm = np.asarray(found["psf_fwhm"], dtype=float)
    error = np.sqrt(2) * fwhm / (2.355 * np.asarray(found["snr"], dtype=float))
    flux = (found["flux"] - found["flux_source"]) / found["flux_err"]
    edges = np.linspace(-5, 5, 26)
    both = np.concatenate([np.asarray(dx) / error, np.asarray(dy) / error])
    for values, color, name, width in (
        (both, COLORS["real"], "position", 2.4),
        (np.asarray(flux), COLORS["bogus"], "flux", 1.4),
    ):
        ax.hist(
            np.clip(values, edges[0], edges[-1]),
            bins=edges,
            density=True,
            histtype="step",
            lw=width,
            color=color,
            label=f"{name}, width {robust_sigma(values):.2f}",
        )
    fine = np.linspace(-5, 5, 201)
    gaussian = np.exp(-0.5 * fine**2) / np.sqrt(2 * np.pi)
    ax.plot(fine, gaussian, color=COLORS["limit"], lw=1, label="unit Gaussian")
    ax.set(xlim=(-5, 5), ylim=(0, 1.45 * ax.dataLim.ymax))
    ax.legend(loc="upper center", ncols=2, fontsize=8.5)


def _per_exposure(exposures, column, *, ax):
    values = np.ma.filled(np.ma.asarray(exposures[column], dtype=float), np.nan)
    used = np.asarray(exposures["used"], dtype=bool)
    rows = np.arange(len(exposures))
    for rows_of, marker, color, name in (
        (used, "o", COLORS["real"], "used"),
        (~used, "X", COLORS["bogus"], "set aside"),
    ):
        known = rows_of & np.isfinite(values)
        if known.any():
            ax.scatter(
                values[known],
                rows[known],
                marker=marker,
                s=55,
                color=color,
                label=name,
                zorder=3,
            )
    for row in rows[~np.isfinite(values)]:
        ax.annotate(
            "not measured",
            (0.02, row),
            ha="left",
            va="center",
            xycoords=("axes fraction", "data"),
            fontsize=9,
            color=COLORS["bogus"],
        )
    names = [str(name) for name in exposures["exposure_id"]]
    step = -(-len(names) // _MAX_NAMES) or 1
    ax.set_yticks(rows[::step], names[::step], fontsize=9 if len(names) < 20 else 7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    if len(names) == 0:
        return draw_none(ax)
    if not used.all():
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def _pixels(image):
    """Return the array of an `Image`, or the array itself."""
    return image if isinstance(image, np.ndarray) else np.asarray(image.data)


def _zscale(data):
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = ZScaleInterval().get_limits(finite)
    return (low, high) if high > low else (low - 1, low + 1)


def _grey_map():
    return mpl.colormaps["gray"].with_extremes(bad=NO_MEASUREMENT_COLOR)


def _palette():
    """Return the grey levels 0 to `WHITE`, then a gap and the one of no measurement."""
    levels = np.linspace(0, 1, WHITE + 1)[:, None] * np.ones(3)
    return ListedColormap(np.vstack([levels, np.ones(3), NO_MEASUREMENT_COLOR]))


def _no_ticks(ax):
    ax.set(xticks=[], yticks=[])


def _reticle(ax, x, y):
    """Mark a place by two short lines that leave its pixels free."""
    reach = 0.06 * np.ptp(ax.get_xlim())
    style = {"color": COLORS["bogus"], "lw": 1.6}
    ax.plot([x + 0.5 * reach, x + 1.5 * reach], [y, y], **style)
    ax.plot([x, x], [y + 0.5 * reach, y + 1.5 * reach], **style)
