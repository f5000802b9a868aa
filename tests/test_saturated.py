import numpy as np
import pytest
from astropy.table import Table
from star_fields import expose, moffat, true_psf

from gmadet_nb.files.images import make_mask
from gmadet_nb.imaging.saturated import fill_saturated

SHAPE = (120, 150)
NOISE, SATURATION = 8.0, 4000.0
STARS = Table({"x": [40.3, 100.8], "y": [50.6, 70.2], "flux": [3e5, 1e6]})


@pytest.fixture
def clipped(rng):
    """Return the image as it is, as the camera saw it, its mask and its PSF."""
    optics = moffat(SHAPE, 3.0)
    truth = expose(optics, STARS, sky=0.0)
    seen = truth + rng.normal(0, NOISE, SHAPE)
    seen = np.minimum(seen, SATURATION).astype(np.float32)
    return truth, seen, make_mask(seen, SATURATION), true_psf(optics)


def test_core_is_filled_with_what_the_star_would_have_shown(clipped):
    truth, seen, mask, psf = clipped
    filled = fill_saturated(seen, mask, psf, NOISE)

    for star in STARS:
        box = (
            slice(int(star["y"]) - 8, int(star["y"]) + 9),
            slice(int(star["x"]) - 8, int(star["x"]) + 9),
        )
        core = mask[box] > 0
        lost = (truth[box] - seen[box])[core].sum()
        # The wings weigh as if good to 5% a pixel, over some 100 pixels of them.
        assert filled[box][core].sum() == pytest.approx(
            truth[box][core].sum(), rel=0.03
        )
        assert lost > 0.3 * star["flux"]


def test_all_else_stays_as_it_was(clipped):
    _, seen, mask, psf = clipped
    before = seen.copy()
    filled = fill_saturated(seen, mask, psf, NOISE)

    assert np.array_equal(filled[mask == 0], seen[mask == 0])
    assert np.array_equal(seen, before)


def test_block_that_is_no_star_stays(clipped):
    _, seen, _, psf = clipped
    seen = seen.copy()
    seen[10:40, 5:145] = SATURATION
    mask = make_mask(seen, SATURATION)
    filled = fill_saturated(seen, mask, psf, NOISE)

    assert np.array_equal(filled[10:40], seen[10:40])


def test_core_at_the_edge_is_filled_as_far_as_it_is_there(clipped):
    truth, seen, mask, psf = clipped
    cut = slice(52, None)  # through the first star, whose middle is at 50.6
    filled = fill_saturated(seen[cut], mask[cut], psf, NOISE)
    core = mask[cut][:8, 30:50] > 0

    assert core.any()
    # Half of the wings are left, and tell the place less well.
    assert filled[:8, 30:50][core].sum() == pytest.approx(
        truth[cut][:8, 30:50][core].sum(), rel=0.1
    )


def test_hot_pixel_is_not_taken_for_a_star(clipped):
    _, seen, _, psf = clipped
    seen = seen.copy()
    seen[20, 20] = SATURATION
    filled = fill_saturated(seen, make_mask(seen, SATURATION), psf, NOISE)

    # A star that saturates has some 9 times its peak in light; nothing is around this.
    assert filled[20, 20] < 0.1 * SATURATION
