import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.campaign.steps.reference import same_field_first


def exposures(ra, dec):
    """Return exposures of 0.3 degree: 1000 x 400 pixels of 1 arcsec."""
    n = len(ra)
    return Table(
        {
            "exposure_id": list("abcdefg"[:n]),
            "ra": ra,
            "dec": dec,
            "nx": np.full(n, 1000),
            "ny": np.full(n, 400),
            "pixel_scale": np.ones(n),
        }
    )


@pytest.mark.parametrize("dec", [0.0, 80.0])
def test_exposures_of_another_field_come_last_in_their_order(dec):
    step = 0.25 / np.cos(np.radians(dec))  # 0.25 degree on the sky
    ra = (359.9 + step * np.array([0, 4, 1, 8, -1])) % 360
    night = exposures(ra, np.full(5, dec))
    sorted_night = same_field_first(night[1:], night[0])

    assert "".join(sorted_night["exposure_id"]) == "cebd"


@pytest.mark.parametrize("column", ["ra", "dec"])
def test_exposure_without_a_place_is_held_for_near(column):
    night = exposures([10.0, 14.0, 12.0], [0.0, 0.0, 0.0])
    night[column][2] = np.nan

    assert "".join(same_field_first(night[1:], night[0])["exposure_id"]) == "cb"


def test_without_a_pixel_scale_none_is_known_to_be_far():
    night = exposures([10.0, 14.0, 10.0], [0.0, 0.0, 0.0])
    night["pixel_scale"][0] = np.nan

    assert "".join(same_field_first(night[1:], night[0])["exposure_id"]) == "bc"
