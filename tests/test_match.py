import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.campaign.steps.crossmatch import crossmatch_table
from gmadet_nb.imaging.match import find_recurrent, label_automatically, match_sources

FWHM = 3.0
SCALE = 0.9  # [arcsec/pixel]


def make_sources(*places, flux=1000.0):
    return Table(
        {
            "source_id": np.array([f"s{i}" for i in range(len(places))], dtype="U4"),
            "x": np.array([float(place[0]) for place in places]),
            "y": np.array([float(place[1]) for place in places]),
            "flux": np.full(len(places), flux),
        }
    )


def make_candidates(*places, flux=1000.0, flux_err=100.0):
    table = make_sources(*places, flux=flux)
    table["candidate_id"] = np.array([f"c{i}" for i in range(len(places))], dtype="U4")
    table["flux_err"] = flux_err
    table.remove_column("source_id")
    return table


def match(sources, candidates, *, match_radius=1.0, fwhm=FWHM):
    return match_sources(sources, candidates, match_radius=match_radius, fwhm=fwhm)


def pairs(matches):
    return [tuple(row) for row in matches["source_id", "candidate_id", "match"]]


def test_each_source_gets_its_nearest_candidate():
    matches = match(
        make_sources((10, 20), (50, 20), (90, 80)),
        make_candidates((50.5, 20), (11, 21), (150, 20)),
    )

    assert pairs(matches) == [
        ("s0", "c1", "matched"),
        ("s1", "c0", "matched"),
        ("s2", "", "missed"),
        ("", "c2", "unmatched"),
    ]
    np.testing.assert_allclose(
        matches["separation"], [2**0.5, 0.5, np.nan, np.nan], rtol=1e-12
    )
    np.testing.assert_allclose(
        matches["separation_fwhm"], matches["separation"] / FWHM, rtol=1e-12
    )
    assert list(matches["n_plausible"]) == [1, 1, 0, 0]


def test_x_and_y_are_not_swapped():
    assert match(make_sources((10, 90)), make_candidates((90, 10)))["match"][0] == (
        "missed"
    )


@pytest.mark.parametrize(
    ("separation", "fwhm", "radius", "found"),
    [
        (2.9, 3.0, 1.0, True),
        (3.1, 3.0, 1.0, False),
        (3.1, 6.0, 1.0, True),
        (2.9, 3.0, 0.5, False),
    ],
)
def test_radius_is_in_units_of_the_fwhm(separation, fwhm, radius, found):
    matches = match(
        make_sources((50, 50)),
        make_candidates((50, 50 + separation)),
        match_radius=radius,
        fwhm=fwhm,
    )

    assert matches["match"][0] == ("matched" if found else "missed")
    assert len(matches) == (1 if found else 2)


def test_two_candidates_near_one_source_are_both_ambiguous():
    matches = match(make_sources((50, 50)), make_candidates((50.5, 50), (48, 50)))

    assert pairs(matches) == [("s0", "c0", "ambiguous"), ("", "c1", "ambiguous")]
    assert matches["n_plausible"][0] == 2


def test_one_candidate_between_two_sources_is_ambiguous():
    matches = match(make_sources((49, 50), (52, 50)), make_candidates((50, 50)))

    assert pairs(matches) == [("s0", "c0", "ambiguous"), ("s1", "", "missed")]
    assert list(matches["n_plausible"]) == [1, 1]


def test_second_nearest_is_no_partner_of_a_source_that_lost_its_nearest():
    # c0 is the nearest of both sources and belongs to s0.
    matches = match(make_sources((50, 50), (54, 50)), make_candidates((51.5, 50)))

    assert pairs(matches) == [("s0", "c0", "ambiguous"), ("s1", "", "missed")]


@pytest.mark.parametrize("flux", [300.0, 5000.0])
def test_light_that_the_source_cannot_have_is_not_the_source(flux):
    matches = match(make_sources((50, 50)), make_candidates((50, 50), flux=flux))
    uncertain = match(
        make_sources((50, 50)), make_candidates((50, 50), flux=flux, flux_err=flux)
    )

    assert matches["match"][0] == "unlike"
    assert uncertain["match"][0] == "matched"  # within 5 sigma it can have it


@pytest.mark.parametrize(("n_sources", "n_candidates"), [(0, 0), (0, 2), (2, 0)])
def test_empty_tables_match_nothing(n_sources, n_candidates):
    places = [(10, 10), (50, 50)]
    matches = match(
        make_sources(*places[:n_sources]), make_candidates(*places[:n_candidates])
    )

    assert len(matches) == n_sources + n_candidates
    assert set(matches["match"]) <= {"missed", "unmatched"}
    assert matches["separation"].unit == "pix"
    assert matches["source_id"].dtype.kind == "U"


def test_every_source_and_every_candidate_is_there_once(rng):
    sources = make_sources(*rng.uniform(0, 100, (80, 2)))
    candidates = make_candidates(*rng.uniform(0, 100, (120, 2)))
    matches = match(sources, candidates)

    assert list(matches["source_id"][:80]) == list(sources["source_id"])
    ids = [name for name in matches["candidate_id"] if name]
    assert sorted(ids) == sorted(candidates["candidate_id"])
    # A pair is one of mutual nearest neighbours.
    for row in matches[matches["match"] == "matched"]:
        i = int(row["source_id"][1:])
        j = int(row["candidate_id"][1:])
        distance = np.hypot(
            candidates["x"] - sources["x"][i], candidates["y"] - sources["y"][i]
        )
        assert np.sum(distance <= FWHM) == 1
        assert distance.argmin() == j


# Labels


def dithers(n):
    return [(7.0 * i, -5.0 * i) for i in range(n)]


def make_night(n, *, ra=150.0, dec=20.0, moves=True, on_sky=True, **columns):
    """Return one candidate an exposure: fixed on the sky, on the detector, or both."""
    shift = np.array(dithers(n))
    x = 100 + (shift[:, 0] if moves else np.zeros(n))
    y = 80 + (shift[:, 1] if moves else np.zeros(n))
    step = np.zeros((n, 2)) if on_sky else shift * SCALE / 3600
    table = Table(
        {
            "candidate_id": [f"e{i}_c0" for i in range(n)],
            "exposure_id": [f"e{i}" for i in range(n)],
            "x": x,
            "y": y,
            "ra": (ra + step[:, 0] / np.cos(np.radians(dec))) % 360,
            "dec": dec + step[:, 1],
            "snr": np.full(n, 30.0),
            "reference_snr": np.full(n, 0.5),
            "psf_fwhm": np.full(n, FWHM),
            "fwhm": np.full(n, FWHM),
            "flux": np.full(n, 1000.0),
            "psf_chi2": np.ones(n),
            "flags": np.zeros(n, np.int32),
        }
    )
    for name, value in columns.items():
        table[name] = value
    return table


def make_exposures(n):
    return Table(
        {
            "exposure_id": [f"e{i}" for i in range(n)],
            "pixel_scale": [SCALE] * n,
            "mjd": 60000 + np.arange(n) / 288,
        }
    )


def test_source_that_recurs_on_the_sky_at_dithered_places_is_recurrent():
    night = make_night(4)

    assert find_recurrent(night, make_exposures(4)) == list(night["candidate_id"])


def test_hot_pixel_that_is_fixed_on_the_detector_is_not_recurrent():
    night = make_night(4, moves=False, on_sky=False)

    assert find_recurrent(night, make_exposures(4)) == []


def test_nothing_can_recur_where_the_telescope_stood_still():
    assert find_recurrent(make_night(4, moves=False), make_exposures(4)) == []


def test_two_exposures_are_too_few_to_recur():
    assert find_recurrent(make_night(2), make_exposures(2)) == []
    assert len(find_recurrent(make_night(3), make_exposures(3))) == 3


def test_faint_residual_of_a_star_is_not_recurrent():
    # 3 % of the star's light is left in each exposure.
    residual = make_night(4, snr=30.0, reference_snr=1000.0)
    variable = make_night(4, snr=300.0, reference_snr=1000.0)

    assert find_recurrent(residual, make_exposures(4)) == []
    assert len(find_recurrent(variable, make_exposures(4))) == 4


def test_without_a_reference_all_light_is_new():
    night = make_night(4, reference_snr=np.nan)

    assert len(find_recurrent(night, make_exposures(4))) == 4


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.9999, 45.0), (10.0, 89.9999)])
def test_right_ascension_wraps(ra, dec):
    night = make_night(4, ra=ra, dec=dec)
    # A fifth of a pixel to and fro over the meridian.
    night["ra"] = (night["ra"] + 5e-5 * np.array([1, -1, 1, -1])) % 360

    assert len(find_recurrent(night, make_exposures(4))) == 4


def test_two_places_a_few_pixels_apart_do_not_recur():
    night = make_night(4)
    night["dec"] += np.arange(4) * 2.5 * FWHM * SCALE / 3600

    assert find_recurrent(night, make_exposures(4)) == []


def test_candidates_without_sky_positions_do_not_recur():
    night = make_night(4, ra=150.0)
    night["ra"] = np.nan

    assert find_recurrent(night, make_exposures(4)) == []
    assert find_recurrent(night[:0], make_exposures(4)) == []


def label(night, kinds, *, unmatched_as_bogus=True, moving=()):
    crossmatch = Table(
        {
            "exposure_id": night["exposure_id"],
            "source_id": ["s" if kind != "unmatched" else "" for kind in kinds],
            "candidate_id": np.where(
                np.array(kinds) == "missed", "", night["candidate_id"]
            ),
            "match": kinds,
        }
    )
    return label_automatically(
        crossmatch,
        night,
        make_exposures(len(night)),
        unmatched_as_bogus=unmatched_as_bogus,
        moving=moving,
    )


def test_labels_follow_from_the_match():
    night = make_night(4, moves=False, on_sky=False)
    labeled = label(night, ["matched", "ambiguous", "missed", "unmatched"])

    assert list(labeled["auto_label"]) == ["real", "ambiguous", "", "bogus"]
    assert list(labeled["auto_origin"]) == ["injected", "", "", "unmatched"]


def test_unmatched_candidates_wait_for_a_person_unless_told_otherwise():
    night = make_night(4, moves=False, on_sky=False)
    labeled = label(night, ["unmatched"] * 4, unmatched_as_bogus=False)

    assert set(labeled["auto_label"]) == {""}
    assert set(labeled["auto_origin"]) == {""}


def test_recurrent_candidates_are_not_bogus():
    labeled = label(make_night(4), ["unmatched"] * 4)

    assert set(labeled["auto_label"]) == {"recurrent"}
    assert set(labeled["auto_origin"]) == {"recurrent"}


def test_matched_candidate_stays_real_where_others_recur():
    labeled = label(make_night(4), ["matched", *["unmatched"] * 3])

    assert list(labeled["auto_label"]) == ["real", *["recurrent"] * 3]


def test_table_is_not_changed_by_labeling_it():
    night = make_night(4)
    before = night.copy()
    label(night, ["unmatched"] * 4)

    assert night.colnames == before.colnames
    assert np.all(night["x"] == before["x"])


def make_subtractions(n, *, method="kernel", good=True):
    return Table(
        {
            "exposure_id": [f"e{i}" for i in range(n)],
            "method": [method] * n,
            "good": [good] * n,
        }
    )


@pytest.mark.parametrize(
    ("subtractions", "labels"),
    [
        ({}, ["real", "bogus"]),
        # Without a reference what matches nothing is a star as a rule.
        ({"method": "none"}, ["real", ""]),
        # A poor subtraction teaches nothing.
        ({"good": False}, ["", ""]),
    ],
)
def test_how_an_exposure_was_subtracted_decides_what_it_teaches(subtractions, labels):
    table = match(make_sources((10, 10)), make_candidates((10, 10), (40, 40)))
    table["exposure_id"] = "e0"
    night = make_night(2)
    night["candidate_id"], night["exposure_id"] = ["c0", "c1"], "e0"
    labeled = crossmatch_table(
        [table],
        night,
        make_exposures(1),
        make_subtractions(1, **subtractions),
        label_unmatched_as_bogus=True,
    )

    assert list(labeled["auto_label"]) == labels


def test_exposures_stack_where_one_has_no_candidates():
    one = match(make_sources((10, 10)), make_candidates())
    other = match(make_sources(), make_candidates((10, 10)))
    one["exposure_id"], other["exposure_id"] = "e0", "e1"
    night = make_night(2)
    night["candidate_id"][1] = "c0"
    table = crossmatch_table(
        [one, other],
        night,
        make_exposures(2),
        make_subtractions(2),
        label_unmatched_as_bogus=True,
    )

    # Nothing is matched across exposures.
    assert list(table["match"]) == ["missed", "unmatched"]
    assert list(table["auto_label"]) == ["", "bogus"]


def test_what_moves_like_a_minor_planet_is_not_bogus():
    night = make_night(4, moves=False, on_sky=False)
    kinds = ["matched", "unmatched", "unmatched", "unmatched"]
    labeled = label(night, kinds, moving=night["candidate_id"][:3])

    assert list(labeled["auto_label"]) == ["real", "recurrent", "recurrent", "bogus"]
    assert list(labeled["auto_origin"][1:3]) == ["moving", "moving"]
