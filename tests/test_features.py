import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from toy_candidates import make_measured

from gmadet_nb.errors import BadInputError
from gmadet_nb.imaging.measure import FLAG_BITS
from gmadet_nb.learning.features import COLUMNS, FAR, FEATURES, candidate_features


@pytest.fixture
def candidates(rng):
    return make_measured(rng.random(50) < 0.5, rng=rng)


def column(matrix, name):
    return matrix[:, list(FEATURES).index(name)]


def test_there_is_one_row_a_candidate_and_one_column_a_feature(candidates):
    matrix = candidate_features(candidates)

    assert matrix.shape == (50, len(FEATURES))
    assert matrix.dtype == np.float32
    # float32 holds 24 bits.
    np.testing.assert_allclose(column(matrix, "snr"), candidates["snr"], rtol=2**-24)


def test_rows_keep_their_order(candidates):
    np.testing.assert_array_equal(
        candidate_features(candidates[::-1]), candidate_features(candidates)[::-1]
    )


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_column_is_refused_by_name(candidates, name):
    candidates.remove_column(name)
    with pytest.raises(BadInputError, match=rf"; {name} not there"):
        candidate_features(candidates)


def test_the_candidates_are_not_changed(candidates):
    before = candidates.copy()
    candidate_features(candidates)
    assert (before == candidates).all()


def test_nothing_tells_place_name_or_exposure(candidates):
    before = candidate_features(candidates)
    for name in ("x", "y", "ra", "dec", "flux", "flux_err", "mag", "mag_err", "mjd"):
        candidates[name] = np.arange(50.0)
    candidates["exposure_id"] = candidates["candidate_id"] = "other"
    np.testing.assert_array_equal(candidate_features(candidates), before)


def test_the_same_source_under_a_wider_psf_has_the_same_numbers(candidates):
    wider = candidates.copy()
    for name in ("fwhm", "psf_fwhm", "x_err", "y_err", "reference_distance"):
        wider[name] = 2 * wider[name]
    wider["peak_to_flux"] = wider["peak_to_flux"] / 4
    wider["n_negative"] = 4 * wider["n_negative"]
    # Powers of two are exact in floating point.
    np.testing.assert_array_equal(
        candidate_features(wider), candidate_features(candidates)
    )


def test_what_is_not_measured_is_nan_and_never_infinite(candidates):
    candidates["fwhm"][0] = np.nan
    candidates["dipole"] = MaskedColumn(candidates["dipole"], mask=np.arange(50) == 1)
    candidates["psf_chi2"][2] = np.inf
    candidates["snr"][3] = 0.0
    matrix = candidate_features(candidates)

    assert np.isnan(column(matrix, "fwhm_ratio")[0])
    assert np.isnan(column(matrix, "dipole")[1])
    assert np.isnan(column(matrix, "psf_chi2")[2])
    assert np.isnan(column(matrix, "relative_misfit")[3])
    assert not np.isinf(matrix).any()


def test_a_field_without_reference_sources_is_far_from_any(candidates):
    candidates["reference_distance"] = np.full(50, np.inf) * u.pix
    assert (column(candidate_features(candidates), "reference_distance") == FAR).all()


@pytest.mark.parametrize("name", ["masked_core", "saturated_near", "edge"])
def test_each_flag_has_its_column(candidates, name):
    candidates["flags"] = 0
    candidates["flags"][7] = FLAG_BITS[name]
    matrix = candidate_features(candidates)

    assert np.flatnonzero(column(matrix, name)).tolist() == [7]
    others = [flag for flag in FLAG_BITS if flag in FEATURES and flag != name]
    assert not any(column(matrix, other).any() for other in others if other != "dipole")


def test_a_flag_of_repeats_changes_nothing(candidates):
    before = candidate_features(candidates)
    candidates["flags"] = candidates["flags"] | FLAG_BITS["repeats"]
    np.testing.assert_array_equal(candidate_features(candidates), before)


def test_no_candidate_gives_no_row(candidates):
    assert candidate_features(candidates[:0]).shape == (0, len(FEATURES))
    with pytest.raises(BadInputError, match="snr"):
        candidate_features(Table())
