import numpy as np
import pytest
from astropy.table import Table, vstack
from astropy.wcs import WCS
from star_fields import expose, moffat, scatter_stars

from gmadet_nb.errors import BadImageError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.align import Alignment, fill_holes, find_alignment, resample
from gmadet_nb.imaging.photometry import find_sources
from gmadet_nb.imaging.psf import polynomial_terms

SHAPE = (150, 200)  # (ny, nx), not square
N_STARS = 60


@pytest.fixture
def sky(rng):
    # Wider than the image on all sides: dithers bring other stars in.
    ny, nx = SHAPE
    return Table(
        {
            "x": rng.uniform(-40, nx + 40, 2 * N_STARS),
            "y": rng.uniform(-40, ny + 40, 2 * N_STARS),
            "flux": np.exp(rng.uniform(np.log(1e3), np.log(1e5), 2 * N_STARS)),
        }
    )


def see(sky, moved=None, *, rng, error=0.03):
    x, y = np.array(sky["x"]), np.array(sky["y"])
    if moved is not None:
        x, y = moved(x, y)
    inside = (x > 0) & (x < SHAPE[1]) & (y > 0) & (y < SHAPE[0])
    n = inside.sum()
    return Table(
        {
            "x": x[inside] + error * rng.standard_normal(n),
            "y": y[inside] + error * rng.standard_normal(n),
            "flux": sky["flux"][inside] * rng.uniform(0.9, 1.1, n),
            "is_star": np.ones(n, bool),
        }
    )


def turned(degrees, shift_x, shift_y, *, scale=1.0):
    def move(x, y):
        cos, sin = (
            scale * np.cos(np.radians(degrees)),
            scale * np.sin(np.radians(degrees)),
        )
        dx, dy = x - SHAPE[1] / 2, y - SHAPE[0] / 2
        return (
            SHAPE[1] / 2 + cos * dx - sin * dy + shift_x,
            SHAPE[0] / 2 + sin * dx + cos * dy + shift_y,
        )

    return move


def largest_error(alignment, move):
    x, y = np.meshgrid(np.linspace(10, 190, 7), np.linspace(10, 140, 7))
    found, true = alignment(x.ravel(), y.ravel()), move(x.ravel(), y.ravel())
    # Where the reference has stars: beyond, the fit is drawn on.
    inside = (true[0] > 8) & (true[0] < 192) & (true[1] > 8) & (true[1] < 142)
    assert inside.sum() > 20
    return np.hypot(found[0] - true[0], found[1] - true[1])[inside].max()


def tan_wcs(*, crpix=(100.5, 75.5), rotation=0.0, sip=0.0, scale=1.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = (
        ["RA---TAN-SIP", "DEC--TAN-SIP"] if sip else ["RA---TAN", "DEC--TAN"]
    )
    wcs.wcs.crpix, wcs.wcs.crval = crpix, [150.0, 20.0]
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * scale / 3600
    if not sip:
        return wcs
    header = wcs.to_header(relax=True)
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": sip, "B_1_1": -sip})
    return WCS(header)


def by_wcs(science, reference):
    def move(x, y):
        return reference.all_world2pix(*science.all_pix2world(x, y, 0), 0)

    return move


def exact(move, shape=SHAPE):
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 9), np.linspace(0, shape[0] - 1, 9))
    terms = polynomial_terms(x.ravel(), y.ravel(), shape, 3)
    moved = np.column_stack(move(x.ravel(), y.ravel()))
    fit = np.linalg.lstsq(terms.T, moved, rcond=None)[0].T
    return Alignment(
        x_coefficients=fit[0],
        y_coefficients=fit[1],
        degree=3,
        shape=shape,
        rms=0.0,
        n_stars=0,
        method="wcs",
    )


# Some 60 stars, known to 0.03 pixel in both images, fix the six numbers of a quadratic
# an axis. In a corner these add up to 0.03 sqrt(2) sqrt(20 / 60) = 0.025 pixel, of
# which the largest of both axes and of all corners stays below four times.
CORNER_ERROR = 0.1


@pytest.mark.parametrize(
    "move",
    [turned(1, 20, -5), turned(-1, 0, 20), turned(0, 3.3, -7.8), turned(180, 4, 2)],
    ids=["turned", "turned back", "shifted", "meridian flip"],
)
def test_stars_alone_align_two_images(sky, rng, move):
    alignment = find_alignment(see(sky, rng=rng), see(sky, move, rng=rng), shape=SHAPE)

    assert largest_error(alignment, move) < CORNER_ERROR
    # Errors of both positions, 0.03 sqrt(2), less what the fit takes.
    assert alignment.rms == pytest.approx(0.04, rel=0.3)
    assert alignment.method in ("pattern", "offset")


def test_wcs_that_is_off_by_8_pixels_is_put_right_by_the_stars(sky, rng):
    science = tan_wcs()
    said, true = tan_wcs(crpix=(110.5, 75.5)), tan_wcs(crpix=(118.5, 75.5))
    move = by_wcs(science, true)
    alignment = find_alignment(
        see(sky, rng=rng),
        see(sky, move, rng=rng),
        shape=SHAPE,
        science_wcs=science,
        reference_wcs=said,
    )

    assert alignment.method == "wcs"
    assert largest_error(alignment, move) < CORNER_ERROR


def test_wcs_with_distortion_is_followed(sky, rng):
    # 1e-4 * 100^2 is one pixel at the edge.
    science, reference = tan_wcs(sip=1e-4), tan_wcs(rotation=3.0)
    move = by_wcs(science, reference)
    alignment = find_alignment(
        see(sky, rng=rng),
        see(sky, move, rng=rng),
        shape=SHAPE,
        science_wcs=science,
        reference_wcs=reference,
    )

    assert alignment.method == "wcs"
    assert largest_error(alignment, move) < CORNER_ERROR


def test_wrong_wcs_gives_way_to_the_stars(sky, rng):
    move = turned(0.5, 6, 3)
    alignment = find_alignment(
        see(sky, rng=rng),
        see(sky, move, rng=rng),
        shape=SHAPE,
        science_wcs=tan_wcs(),
        reference_wcs=tan_wcs(rotation=90.0),
    )

    assert alignment.method == "pattern"
    assert largest_error(alignment, move) < CORNER_ERROR


def test_wcs_of_another_part_of_the_sky_gives_way_to_the_stars(sky, rng):
    move = turned(0.5, 6, 3)
    elsewhere = tan_wcs()
    elsewhere.wcs.crval = [330.0, -20.0]
    alignment = find_alignment(
        see(sky, rng=rng),
        see(sky, move, rng=rng),
        shape=SHAPE,
        science_wcs=tan_wcs(),
        reference_wcs=elsewhere,
    )

    assert largest_error(alignment, move) < CORNER_ERROR


@pytest.mark.parametrize("bright", [1e2, 1e6])
def test_hot_pixels_that_do_not_move_do_not_win(sky, rng, bright):
    move = turned(0.2, 9, -6)
    hot = Table(
        {
            "x": rng.integers(0, SHAPE[1], 80).astype(float),
            "y": rng.integers(0, SHAPE[0], 80).astype(float),
            "flux": np.full(80, bright),
            "is_star": np.zeros(80, bool),
        }
    )
    here = vstack([see(sky, rng=rng), hot])
    there = vstack([see(sky, move, rng=rng), hot])

    assert largest_error(find_alignment(here, there, shape=SHAPE), move) < CORNER_ERROR


def test_another_field_is_refused(rng):
    fields = []
    for _ in range(2):
        field = Table(
            {
                "x": rng.uniform(0, SHAPE[1], N_STARS),
                "y": rng.uniform(0, SHAPE[0], N_STARS),
                "flux": rng.uniform(1e3, 1e5, N_STARS),
            }
        )
        fields.append(see(field, rng=rng))
    with pytest.raises(BadImageError, match="Check that it is of this field"):
        find_alignment(*fields, shape=SHAPE)


def test_stars_that_meet_by_chance_are_no_alignment():
    # Of 1500 pairs of such fields 4 have 8 or 9 of 48 stars that meet, this one best.
    shape = (170, 230)
    fields = [
        scatter_stars(shape, np.random.default_rng([part, 847]), cell=28)
        for part in (1, 2)
    ]
    with pytest.raises(BadImageError, match="Check that it is of this field"):
        find_alignment(*fields, shape=shape)


def test_too_few_stars_are_refused(sky, rng):
    with pytest.raises(BadImageError, match=r"at least 5 stars.*got 3 in the science"):
        find_alignment(see(sky, rng=rng)[:3], see(sky, rng=rng), shape=SHAPE)


def test_moving_stars_do_not_pull_the_alignment(sky, rng):
    move = turned(0.3, 5, 2)
    there = see(sky, move, rng=rng)
    there["x"][::10] += 0.8
    alignment = find_alignment(see(sky, rng=rng), there, shape=SHAPE)

    assert largest_error(alignment, move) < CORNER_ERROR


@pytest.fixture
def starry(rng):
    truth = moffat(SHAPE, 3.0)
    stars = Table(
        {
            "x": [40.3, 150.7, 99.5, 60.1, 160.9],
            "y": [40.6, 35.2, 75.4, 110.8, 120.5],
            "flux": [2e4, 5e4, 1e4, 3e4, 2e4],
        }
    )
    return stars, expose(truth, stars, sky=0.0), np.zeros(SHAPE, np.uint8)


def measure_sums(data, x, y, *, radius=12):
    rows, columns = np.indices(data.shape)
    sums = []
    for star_x, star_y in zip(x, y, strict=True):
        near = np.hypot(columns - star_x, rows - star_y) < radius
        total = data[near].sum(dtype=float)
        sums.append(
            (
                total,
                (data[near] * columns[near]).sum(dtype=float) / total,
                (data[near] * rows[near]).sum(dtype=float) / total,
            )
        )
    return np.array(sums).T


def test_image_on_its_own_pixels_is_itself(starry):
    _, data, mask = starry
    same, carried = resample(data, mask, exact(lambda x, y: (x, y)))

    # Cubic splines go through their points; float32 is good to 1e-7 of the peak.
    np.testing.assert_allclose(same, data, rtol=0, atol=2e-6 * data.max())
    # Where the reference ends its outermost pixels are not trusted.
    assert not carried[3:-3, 3:-3].any()
    assert (carried[:2] == MASK_BITS["edge"]).all()


def test_half_pixel_shift_keeps_flux_and_centroid(starry):
    stars, data, mask = starry
    moved, _ = resample(data, mask, exact(lambda x, y: (x + 0.5, y - 0.5)))
    before = measure_sums(data, stars["x"], stars["y"])
    after = measure_sums(moved, stars["x"] - 0.5, stars["y"] + 0.5)

    np.testing.assert_allclose(after[0], before[0], rtol=0.003)
    np.testing.assert_allclose(after[1], before[1] - 0.5, rtol=0, atol=0.02)
    np.testing.assert_allclose(after[2], before[2] + 0.5, rtol=0, atol=0.02)


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_other_pixel_scale_keeps_the_flux(starry, scale):
    _, data, mask = starry

    def move(x, y):
        return 20 + scale * x, 15 + scale * y

    alignment = exact(move, shape=(100, 130))
    moved, _ = resample(data, mask, alignment)
    x, y = (99.5 - 20) / scale, (75.4 - 15) / scale
    (before,), (after,) = (
        measure_sums(image, [a], [b], radius=r)[0]
        for image, a, b, r in (
            (data, 99.5, 75.4, 14),
            (moved, x, y, 14 / scale),
        )
    )

    assert alignment.area_ratio == pytest.approx(scale**2, rel=1e-6)
    assert after == pytest.approx(before, rel=0.005)


def test_missing_pixel_is_carried_by_the_mask_and_does_not_ring(starry):
    _, data, mask = starry
    holed, mask = data + np.float32(500), mask.copy()
    holed[70:74, 120:124] = np.nan
    mask[70:74, 120:124] = MASK_BITS["bad"]
    moved, carried = resample(holed, mask, exact(lambda x, y: (x + 0.4, y + 0.4)))
    clean, _ = resample(
        data + np.float32(500),
        np.zeros_like(mask),
        exact(lambda x, y: (x + 0.4, y + 0.4)),
    )

    assert np.isfinite(moved).all()
    bad = (carried & MASK_BITS["bad"]) > 0
    assert bad[70:73, 120:123].all()
    assert bad.sum() <= 25
    # The sky there is smooth: what fills the hole is within its light.
    assert np.abs(moved - clean)[~bad].max() < 1


def test_pixels_off_the_reference_are_marked(starry):
    _, data, mask = starry
    moved, carried = resample(data, mask, exact(lambda x, y: (x - 30, y + 10.5)))
    edge = (carried & MASK_BITS["edge"]) > 0

    # The outermost two pixels are not trusted either.
    assert edge[:, :32].all()
    assert edge[-13:].all()
    assert not edge[:-14, 33:].any()
    assert np.isfinite(moved).all()


def test_saturated_pixel_is_carried(starry):
    _, data, mask = starry
    mask = mask.copy()
    mask[80, 120] = MASK_BITS["saturated"]
    _, carried = resample(data, mask, exact(lambda x, y: (x + 0.5, y)))

    saturated = (carried & MASK_BITS["saturated"]) > 0
    assert list(zip(*np.nonzero(saturated), strict=True)) == [(80, 119), (80, 120)]


def test_holes_are_filled_from_their_nearest_pixel():
    data = np.array([[1.0, np.nan, np.nan, np.nan, 5.0]])
    filled = fill_holes(data)

    assert filled[0, 1] == 1
    assert filled[0, 3] == 5
    assert np.isnan(data[0, 1])
    assert not fill_holes(np.full((3, 3), np.nan)).any()


def test_found_sources_align_their_images(make_image, rng):
    move = turned(1.0, 7.0, -4.0)
    x, y = rng.uniform(-20, SHAPE[1] + 20, 60), rng.uniform(-20, SHAPE[0] + 20, 60)
    flux = np.exp(rng.uniform(np.log(3e3), np.log(1e5), 60))
    tables = []
    for places in ((x, y), move(x, y)):
        stars = {"x": places[0], "y": places[1], "flux": flux}
        data = expose(moffat(SHAPE, 3.0), stars, rng=rng)
        image = make_image(data=data, mask=np.zeros(SHAPE, np.uint8))
        found = find_sources(image, np.float32(200), 10.3)
        found["is_star"] = True
        tables.append(found)
    alignment = find_alignment(*tables, shape=SHAPE)

    assert largest_error(alignment, move) < CORNER_ERROR


def test_grid_of_places_is_that_of_each_pixel(rng):
    alignment = Alignment(
        x_coefficients=rng.normal(0, 10, 10),
        y_coefficients=rng.normal(0, 10, 10),
        degree=3,
        shape=(40, 70),
        rms=0.0,
        n_stars=9,
        method="wcs",
    )
    x, y = np.meshgrid(np.arange(70) + 0.25, np.arange(40) - 0.5)

    for grid, one in zip(alignment.over_grid(0.25, -0.5), alignment(x, y), strict=True):
        assert grid == pytest.approx(one, abs=1e-9)
