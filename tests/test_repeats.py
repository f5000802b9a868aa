import numpy as np
import pytest
from astropy.table import Table, vstack

from gmadet_nb.imaging.measure import FLAG_BITS
from gmadet_nb.imaging.repeats import mark_repeats

SCALE = 2.0  # [arcsec/pixel]
NAMES = ("a", "b", "c", "d")
SCALES = dict.fromkeys(NAMES, SCALE)


def exposure(name, x, y, *, pointing=0.0):
    """Return candidates of an exposure that was pointed ``pointing`` pixels aside."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    return Table(
        {
            "exposure_id": [name] * n,
            "x": x,
            "y": y,
            "ra": 359.999 - (x + pointing) * SCALE / 3600 / np.cos(np.radians(40.0)),
            "dec": 40.0 + y * SCALE / 3600,
            "psf_fwhm": np.full(n, 3.0),
            "flags": np.zeros(n, np.int32),
        }
    )


def flagged(candidates):
    return (np.asarray(candidates["flags"]) & FLAG_BITS["repeats"]) > 0


def test_hot_pixel_of_a_dithered_night_is_found():
    night = vstack(
        [
            exposure(n, [50.2, 80 + 7 * i], [30.1, 40], pointing=20 * i)
            for i, n in enumerate(NAMES)
        ]
    )
    marked = mark_repeats(night, SCALES)

    np.testing.assert_array_equal(marked["n_same_pixel"], [3, 0] * 4)
    np.testing.assert_array_equal(flagged(marked), [True, False] * 4)
    assert np.all(night["flags"] == 0)


def test_variable_star_of_a_night_without_dithering_is_none():
    night = vstack([exposure(n, [50.2], [30.1], pointing=0.3) for n in NAMES])

    assert not flagged(mark_repeats(night, SCALES)).any()


def test_star_that_moves_over_the_detector_is_none():
    night = vstack(
        [exposure(n, [50 - 20 * i], [30], pointing=20 * i) for i, n in enumerate(NAMES)]
    )

    assert not flagged(mark_repeats(night, SCALES)).any()


def test_chance_meeting_of_two_is_not_flagged():
    night = vstack(
        [exposure("a", [50], [30]), exposure("b", [50.5], [30], pointing=40)]
    )
    marked = mark_repeats(night, SCALES)

    assert list(marked["n_same_pixel"]) == [1, 1]
    assert not flagged(marked).any()


@pytest.mark.parametrize("column", ["ra", "dec"])
def test_nothing_is_told_without_places_on_the_sky(column):
    night = vstack(
        [exposure(n, [50], [30], pointing=20 * i) for i, n in enumerate(NAMES)]
    )
    night[column] = np.nan

    assert not flagged(mark_repeats(night, SCALES)).any()


def test_no_candidates_are_no_repeats():
    none = exposure("a", [], [])

    assert "n_same_pixel" in mark_repeats(none, SCALES).colnames
