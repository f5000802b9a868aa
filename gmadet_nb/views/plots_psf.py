"""What the stars of an exposure leave when their PSF is taken off."""

import numpy as np

from gmadet_nb.views.style import draw_none

_LEAST_LIMIT = 1.0  # [% of the peak]: less is not worth a colour


def psf_residuals(residuals, *, axes):
    """Show the stacked residuals of the stars in each ninth of the field.

    Parameters
    ----------
    residuals : gmadet_nb.imaging.psf_residuals.PsfResiduals
    axes : (3, 3) array of matplotlib Axes
        As the field: the top row is the top of the exposure.
    """
    percent = 100 * residuals.stacks
    known = percent[np.isfinite(percent)]
    limit = max(_LEAST_LIMIT, np.quantile(np.abs(known), 0.995)) if len(known) else 1
    shown = None
    for (i, j), n in np.ndenumerate(residuals.n_stars):
        ax = axes[len(axes) - 1 - i, j]
        ax.set(xticks=[], yticks=[])
        if not n:
            draw_none(ax, "no star")
            continue
        shown = ax.imshow(
            percent[i, j], origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit
        )
        words = f"{n} star{'s' if n > 1 else ''}"
        words += f"\nrms {100 * residuals.stack_rms[i, j]:.2f}%"
        if np.isfinite(residuals.stack_noise[i, j]):
            words += f", noise {100 * residuals.stack_noise[i, j]:.2f}%"
        ax.set_title(words, fontsize=9)
    if shown is not None:
        axes[0, 0].figure.colorbar(
            shown, ax=axes, label="star less PSF [% of its peak]", shrink=0.8
        )
    return axes
