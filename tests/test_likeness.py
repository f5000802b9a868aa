import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.learning import likeness


def make_exposures(**changes):
    table = Table({"exposure_id": ["a", "b", "c", "d"]})
    table["telescope"], table["filter"] = "TCA", "r"
    table["pixel_scale"] = 3.3
    table["fwhm"] = [2.0, 2.4, 3.0, 9.0]
    table["used"] = [True, True, True, False]
    for name, value in changes.items():
        table[name] = value
    return table


def test_exposures_that_count_are_described():
    found = likeness.describe_exposures(make_exposures(), names={"a", "b", "d"})
    assert found == {
        "telescopes": ["TCA"],
        "filters": ["r"],
        "pixel_scale": [3.3, 3.3],
        "fwhm": [2.0, 2.4],  # d is not used
        "n_exposures": 2,
    }


def test_a_night_like_those_that_trained_differs_in_nothing():
    trained_on = likeness.describe_exposures(make_exposures())
    night = make_exposures(fwhm=[2.1, 2.9, 3.2, 5.0])
    assert likeness.differences(trained_on, night) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"telescope": "TCH"}, "telescope TCH is not among those"),
        ({"filter": ["r", "g", "i", "z"]}, "The filter g, i is not among those"),
        ({"pixel_scale": 0.6}, "pixel_scale is 0.6 arcsec/pixel here and was 3.3"),
        ({"fwhm": [2.0, 2.0, 4.0, 2.0]}, "fwhm is 2 to 4 pixel here and was 2 to 3"),
    ],
)
def test_what_differs_is_said(changes, said):
    trained_on = likeness.describe_exposures(make_exposures())
    (words,) = likeness.differences(trained_on, make_exposures(**changes))
    assert said in words
    assert "Label some candidates of this run" in words


def test_stamps_of_which_nothing_is_known_differ_in_nothing_known():
    stamps = Table({"exposure_id": ["s"], "used": [True]})
    stamps["pixel_scale"] = stamps["fwhm"] = np.nan
    trained_on = likeness.describe_exposures(stamps)
    assert trained_on["fwhm"] is None
    assert likeness.differences(trained_on, stamps) == []
    assert likeness.differences(trained_on, make_exposures()) == []
    assert likeness.compared(trained_on, make_exposures()) == []
    assert "is not known" in likeness.alike(trained_on, stamps)


def test_only_what_both_say_is_called_alike():
    trained_on = likeness.describe_exposures(make_exposures())
    night = make_exposures(pixel_scale=np.nan, telescope="")
    assert likeness.compared(trained_on, night) == ["filter", "FWHM"]
    words = likeness.alike(trained_on, night)
    assert words.endswith("as far as is known: by filter, FWHM.")
    assert likeness.compared(None, night) == []


def test_a_card_that_says_nothing_is_no_good_news():
    (words,) = likeness.differences(None, make_exposures())
    assert "does not say" in words
