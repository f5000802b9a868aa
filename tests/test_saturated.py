import numpy as np
import pytest
from astropy.table import Table
from star_fields import expose, moffat, true_psf

from gmadet_nb.files.images import MASK_BITS, make_mask
from gmadet_nb.imaging.saturated import fill_saturated, mask_halos

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


@pytest.fixture
def haloed(rng):
    """Return a difference in sigmas with a halo from 6 to 14 pixels, and its core."""
    sigmas = rng.normal(size=SHAPE)
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(y - 60, x - 100)
    sigmas[(distance >= 6) & (distance < 14)] += 2.0
    return sigmas, distance < 6, distance


def test_mask_grows_over_a_halo_and_no_farther(haloed):
    sigmas, core, distance = haloed
    mask = np.where(core, MASK_BITS["saturated"], 0).astype(np.uint8)

    grown = mask_halos(sigmas, mask, core, 30)

    assert (grown[distance < 13] == MASK_BITS["saturated"]).all()
    # The ring at 14 pixels has a mean of 0 +- 1 / sqrt(90): 3 sigma off is 0.32.
    assert (grown[distance > 16] == 0).all()
    assert np.array_equal(mask > 0, core)


def test_mask_stays_where_a_core_has_no_halo(haloed, rng):
    _, core, _ = haloed
    mask = np.where(core, MASK_BITS["saturated"], 0).astype(np.uint8)

    grown = mask_halos(rng.normal(size=SHAPE), mask, core, 30)

    assert np.array_equal(grown, mask)


def test_one_bright_source_beside_a_core_is_no_halo(haloed, rng):
    _, core, _ = haloed
    mask = np.where(core, MASK_BITS["saturated"], 0).astype(np.uint8)
    sigmas = rng.normal(size=SHAPE)
    sigmas[58:63, 107:112] += 30  # a transient

    grown = mask_halos(sigmas, mask, core, 30)

    # Clipped at 5 sigma, its 5 pixels of a ring of 44 lift the mean by 0.5 at most, and
    # the mask by no more than the transient's own five rings.
    assert np.count_nonzero(grown) < np.pi * 13**2


def test_halo_at_a_corner_is_masked_as_far_as_it_is_there(haloed):
    sigmas, core, distance = haloed
    cut = slice(58, None), slice(98, None)
    mask = np.where(core, MASK_BITS["saturated"], 0).astype(np.uint8)

    grown = mask_halos(sigmas[cut], mask[cut], core[cut], 30)

    # The middle of what is left of the core is off by some 2 pixels.
    assert (grown[distance[cut] < 10] > 0).all()
    assert (grown[distance[cut] > 22] == 0).all()


@pytest.mark.parametrize("sigma", [4.0, 6.0])
def test_saturated_galaxy_is_not_filled_with_a_star(clipped, sigma):
    _, seen, _, psf = clipped
    y, x = np.indices(SHAPE)
    galaxy = 6000 * np.exp(-((x - 70) ** 2 + (y - 90) ** 2) / (2 * sigma**2))
    data = np.minimum(np.where(seen < SATURATION, seen, 0) + galaxy, SATURATION)
    data = data.astype(np.float32)
    mask = make_mask(data, SATURATION)
    filled = fill_saturated(data, mask, psf, NOISE)
    core = (mask > 0) & (np.hypot(x - 70, y - 90) < 2 * sigma)

    assert core.any()
    np.testing.assert_array_equal(filled[core], data[core])


def test_star_beside_a_brighter_one_is_not_filled_with_the_other_ones_light(rng):
    optics = moffat(SHAPE, 3.0)
    pair = Table({"x": [60.2, 72.4], "y": [60.3, 60.1], "flux": [1e5, 3e6]})
    truth = expose(optics, pair, sky=0.0)
    seen = np.minimum(truth + rng.normal(0, NOISE, SHAPE), SATURATION)
    mask = make_mask(seen.astype(np.float32), SATURATION)
    filled = fill_saturated(seen.astype(np.float32), mask, true_psf(optics), NOISE)
    core = mask[50:70, 50:66] > 0

    # Filled or left, it must not hold more than a tenth more than there was.
    assert core.any()
    assert filled[50:70, 50:66][core].sum() < 1.1 * truth[50:70, 50:66][core].sum()


def test_hundreds_of_cores_are_filled_one_like_the_other(rng):
    shape = (400, 420)
    optics = moffat(shape, 3.0)
    y, x = np.mgrid[20:400:30, 20:420:30].reshape(2, -1) + 0.3
    stars = Table({"x": x, "y": y, "flux": np.full(len(x), 5e5)})
    truth = expose(optics, stars, sky=0.0)
    seen = np.minimum(truth + rng.normal(0, NOISE, shape), SATURATION)
    seen = seen.astype(np.float32)
    mask = make_mask(seen, SATURATION)
    filled = fill_saturated(seen, mask, true_psf(optics), NOISE)

    assert len(stars) > 150
    assert filled[mask > 0].sum() == pytest.approx(truth[mask > 0].sum(), rel=0.03)
