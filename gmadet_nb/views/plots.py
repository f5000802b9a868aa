"""Figures of images and of point spread functions: one function each.

Data come first and ``ax`` (or ``axes``) last; it is drawn into and returned.
Nothing here touches pyplot, so the functions work in a worker or a thread as well.
Style and contact sheets can be had from here too; the other figures are in
`plots_gain`, `plots_candidates`, `plots_recovery`, `plots_learning` and `plots_checks`.
"""

import matplotlib as mpl
import numpy as np
from astropy.visualization import ZScaleInterval

from gmadet_nb.files.tables import as_floats
from gmadet_nb.views.plots_sheets import candidate_sheet, cutout_sheet
from gmadet_nb.views.stretch import robust_sigma
from gmadet_nb.views.style import (
    COLORS,
    NO_MEASUREMENT_COLOR,
    SERIES,
    draw_none,
    use_style,
)

__all__ = [
    "COLORS",
    "NO_MEASUREMENT_COLOR",
    "SERIES",
    "before_after",
    "candidate_sheet",
    "cutout_sheet",
    "draw_none",
    "fwhm_map",
    "fwhm_per_exposure",
    "noise_histogram",
    "noise_per_exposure",
    "psf_grid",
    "show_image",
    "triplet",
    "use_style",
]


_MAX_NAMES = 40


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


def _per_exposure(exposures, column, *, ax):
    values = as_floats(exposures[column])
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


def _no_ticks(ax):
    ax.set(xticks=[], yticks=[])


def _reticle(ax, x, y):
    """Mark a place by two short lines that leave its pixels free."""
    reach = 0.06 * np.ptp(ax.get_xlim())
    style = {"color": COLORS["bogus"], "lw": 1.6}
    ax.plot([x + 0.5 * reach, x + 1.5 * reach], [y, y], **style)
    ax.plot([x, x], [y + 0.5 * reach, y + 1.5 * reach], **style)
