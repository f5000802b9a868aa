import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gmadet_nb.files.images import MASK_BITS, UNUSABLE
from gmadet_nb.imaging.streaks import find_streaks, mask_streaks

SHAPE = (260, 340)
FWHM = 3.0


@pytest.fixture
def sky(rng):
    """Return noise as a matched filter leaves it."""
    noise = gaussian_filter(rng.standard_normal(SHAPE), FWHM / 2.3548)
    return (noise / noise.std()).astype(np.float32)


def add_line(snr, start, end, *, peak, width=FWHM):
    y, x = np.indices(SHAPE)
    (x1, y1), (x2, y2) = start, end
    length = np.hypot(x2 - x1, y2 - y1)
    along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length
    across = ((y - y1) * (x2 - x1) - (x - x1) * (y2 - y1)) / length
    on_it = (along >= 0) & (along <= length)
    profile = np.exp(-(across**2) / (2 * (width / 2.3548) ** 2))
    return snr + np.where(on_it, peak * profile, 0).astype(np.float32)


def add_stars(snr, rng, n=60):
    made = snr.copy()
    spots = np.zeros(SHAPE)
    spots[rng.integers(0, SHAPE[0], n), rng.integers(0, SHAPE[1], n)] = 1
    shape = gaussian_filter(spots, FWHM / 2.3548)
    return made + (30 * shape / shape.max()).astype(np.float32)


@pytest.mark.parametrize(
    ("start", "end"),
    [((20, 30), (300, 210)), ((10, 240), (330, 200)), ((150, 10), (190, 250))],
)
@pytest.mark.parametrize("width", [FWHM, 4 * FWHM])
def test_trail_is_one_row_with_its_ends(sky, rng, start, end, width):
    snr = add_line(add_stars(sky, rng), start, end, peak=12, width=width)
    streaks = find_streaks(snr, "a", fwhm=FWHM)

    assert len(streaks) == 1
    row = streaks[0]
    assert row["exposure_id"] == "a"
    assert row["kind"] == "streak"
    found = sorted([(row["x1"], row["y1"]), (row["x2"], row["y2"])])
    # An end is known to the cell of one FWHM, and blurred by the trail's own width.
    for one, other in zip(found, sorted([start, end]), strict=True):
        assert np.hypot(one[0] - other[0], one[1] - other[1]) < 4 * FWHM + width


def test_trail_with_gaps_is_still_one(sky):
    snr = add_line(sky, (20, 30), (300, 210), peak=12)
    x = np.indices(SHAPE)[1]
    snr[(x // 4) % 12 == 0] = 0  # 4 pixels of every 48 are masked

    assert len(find_streaks(snr, "a", fwhm=FWHM)) == 1


@pytest.mark.parametrize("masked", [True, False])
def test_trail_goes_on_behind_a_mask_and_not_over_a_gap(sky, masked):
    start, end = (12, 20), (320, 235)
    snr = add_line(sky, start, end, peak=12)
    y, x = np.indices(SHAPE)
    # Of the saturated star's disk nothing is known; a gap is known to be dark.
    disk = np.hypot(x - 70, y - 60.5) < 25
    snr[disk] = 0 if masked else sky[disk]
    streaks = find_streaks(snr, "a", fwhm=FWHM)

    ends = [
        (x, y) for r in streaks for x, y in ((r["x1"], r["y1"]), (r["x2"], r["y2"]))
    ]
    off = [min(np.hypot(x - a, y - b) for x, y in ends) for a, b in (start, end)]
    assert len(streaks) == 1
    assert off[1] < 5 * FWHM
    # What is left before the gap, 15 FWHM, is too short to be a trail by itself.
    assert (off[0] < 5 * FWHM) == masked


def test_trail_with_a_dark_gap_is_one_row_on_each_side_of_it(sky):
    snr = add_line(sky, (12, 20), (320, 235), peak=12)
    y, x = np.indices(SHAPE)
    gap = np.hypot(x - 150, y - 116) < 25
    snr[gap] = sky[gap]

    assert len(find_streaks(snr, "a", fwhm=FWHM)) == 2


def test_two_trails_are_two(sky):
    snr = add_line(sky, (20, 30), (300, 210), peak=12)
    snr = add_line(snr, (20, 220), (320, 40), peak=12)

    assert len(find_streaks(snr, "a", fwhm=FWHM)) == 2


def test_stars_and_noise_are_no_trail(rng, sky):
    assert len(find_streaks(add_stars(sky, rng, n=300), "a", fwhm=FWHM)) == 0


def test_galaxy_is_no_trail(sky):
    y, x = np.indices(SHAPE)
    light = np.exp(-((x - 170) ** 2) / (2 * 40**2) - (y - 130) ** 2 / (2 * 8**2))

    assert len(find_streaks(sky + 40 * light, "a", fwhm=FWHM)) == 0


def test_line_along_the_detector_is_its_own(sky):
    streaks = find_streaks(add_line(sky, (5, 100), (330, 100), peak=10), "a", fwhm=FWHM)

    assert list(streaks["kind"]) == ["detector"]


def test_none_is_an_empty_table_with_all_columns(sky):
    streaks = find_streaks(sky, "a", fwhm=FWHM)

    assert len(streaks) == 0
    assert {"exposure_id", "x1", "length", "snr", "kind"} <= set(streaks.colnames)


def test_pixels_of_a_trail_are_no_measurement(sky):
    streaks = find_streaks(add_line(sky, (20, 30), (300, 210), peak=12), "a", fwhm=FWHM)
    mask = np.zeros(SHAPE, np.uint8)
    marked = mask_streaks(mask, streaks, fwhm=FWHM)
    y, x = 120, 160  # on the line: 30 + 140 * 180 / 280

    assert marked[y, x] == MASK_BITS["streak"]
    assert MASK_BITS["streak"] & UNUSABLE
    assert marked[y + 30, x] == 0
    assert mask.max() == 0


def test_bright_trail_across_a_corner_is_long_for_the_width_of_its_light(sky):
    # 60 FWHM long and 4 wide: of so bright a trail pixels are significant as far as
    # 3.7 sigma from its middle, 13 FWHM apart.
    width = 4 * FWHM
    snr = add_line(sky, (160, 259), (339, 235), peak=2000, width=width)
    streaks = find_streaks(snr, "a", fwhm=FWHM)

    assert len(streaks) == 1
    # The line is known to a degree, 2 pixels at its ends.
    assert streaks["width"][0] == pytest.approx(width, abs=2.5)
    masked = mask_streaks(np.zeros(SHAPE, np.uint8), streaks, fwhm=FWHM)
    assert (masked[snr > 10] > 0).mean() > 0.9
