import json

import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.learning.label_context import Context

SHAPE = (90, 120)  # (ny, nx), not square
SCALE = 2.0  # [arcsec/pixel]


@pytest.fixture
def night():
    """Return three exposures, and candidates at one place in all of them."""
    rows = []
    for k in range(3):
        rows.append((f"e{k}_a", f"e{k}", 60.0, 40.0, 150.0, 2.0, 100.0 + 10 * k))
    rows.append(("e0_b", "e0", 66.0, 48.0, 150.0 + 20 / 3600, 2.0, 50.0))
    rows.append(("e0_c", "e0", 5.0, 80.0, np.nan, np.nan, 70.0))
    names = ("candidate_id", "exposure_id", "x", "y", "ra", "dec", "flux")
    candidates = Table(rows=rows, names=names)
    candidates["flux_err"], candidates["psf_fwhm"] = 5.0, 3.0
    candidates["psf_chi2"] = 1.234
    exposures = Table(
        {
            "exposure_id": ["e0", "e1", "e2"],
            "mjd": [60002.0, 60001.0, np.nan],
            "pixel_scale": [SCALE] * 3,
        }
    )
    return candidates, exposures


@pytest.fixture
def context(night):
    def read_planes(exposure_id):
        read_planes.calls.append(exposure_id)
        y, x = np.indices(SHAPE, dtype=float)
        return x, y, x + 1000 * y

    read_planes.calls = []
    made = Context(*night, read_planes, size=8)
    made.calls = read_planes.calls
    return made


def test_surroundings_are_cut_around_the_candidate(context):
    pixels = context.pixels("e0_a")

    assert pixels.shape == (32, 32, 3)
    # The nearest pixel, 60 and 40, stands in pixel 16 of the cutout.
    assert pixels[16, 16].tolist() == [60, 40, 40060]
    assert pixels[16, 20, 0] == 64
    # Near the corner there is nothing beyond the image.
    assert np.isnan(context.pixels("e0_c")[:, :10]).all()


def test_frame_is_read_once_for_neighbours_on_the_grid(context):
    for key in ("e0_a", "e0_b", "e1_a", "e0_a"):
        context.pixels(key)

    assert context.calls == ["e0", "e1"]


def test_history_is_what_was_found_at_the_same_place_in_time(context):
    about = context.describe("e1_a")

    # 20 arcsec away is another place: 1.5 FWHM are 9 arcsec. A time that is not known
    # comes first.
    assert [one["exposure_id"] for one in about["history"]] == ["e2", "e1", "e0"]
    assert [one["flux"] for one in about["history"]] == [120, 110, 100]
    assert about["history"][0]["mjd"] is None
    json.dumps(about)


def test_detection_without_a_flux_is_no_part_of_the_history(night):
    candidates, exposures = night
    candidates["flux"][1] = np.nan
    about = Context(candidates, exposures, print, size=8).describe("e0_a")

    assert [one["exposure_id"] for one in about["history"]] == ["e2", "e0"]


def test_neighbours_are_the_nearest_of_the_same_exposure(context):
    about = context.describe("e0_a")

    assert about["neighbours"] == [{"candidate_id": "e0_b", "distance": 10.0}]
    assert "chi2 of the PSF 1.23" in about["lines"]
    assert "target=150.000000%20+2.000000" in about["link"]


def test_candidate_without_a_place_on_the_sky_has_no_link_and_no_history(context):
    about = context.describe("e0_c")

    assert about["link"] == ""
    assert about["history"] == []
    json.dumps(about)
