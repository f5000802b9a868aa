import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.campaign.steps.crossmatch import crossmatch_table
from gmadet_nb.sky.known import describe_known, match_known

FWHM, SCALE = 3.0, 0.9  # [pixel], [arcsec/pixel]: a radius of 2.7 arcsec
MJD, EXPTIME = 60000.0, 60.0
ARCSEC = 1 / 3600


def make_known(*rows):
    """Return known objects: kind, ra, dec [deg], mjd [d], radius [arcsec]."""
    rows = [(f"k{i}", *row, *[np.nan] * (5 - len(row))) for i, row in enumerate(rows)]
    names = ("name", "kind", "ra", "dec", "mjd", "radius")
    dtype = (str, str, *[float] * 4)
    table = Table(rows=rows or None, names=names, dtype=dtype)
    table.meta = {"n_no_place": 0, "n_no_time": 0}
    return table


def make_candidates(*places, exposure_id="e0"):
    ra, dec = np.array(places, float).reshape(-1, 2).T
    n = len(ra)
    table = Table({"candidate_id": [f"c{i}" for i in range(n)], "ra": ra, "dec": dec})
    table["exposure_id"], table["psf_fwhm"] = exposure_id, FWHM
    table["x"] = table["y"] = np.arange(n) * 50.0
    table["snr"], table["reference_snr"] = 10.0, 0.0
    for name in ("flux", "psf_chi2", "fwhm"):
        table[name] = 1.0
    table["flags"] = 0
    return table


def make_exposures(mjd=MJD, ra=10.0, dec=20.0):
    rows = [(f"e{i}", mjd + i / 24, EXPTIME, SCALE, 1000, 500, ra, dec) for i in (0, 1)]
    names = ("exposure_id", "mjd", "exptime", "pixel_scale", "nx", "ny", "ra", "dec")
    return Table(rows=rows, names=names)


def find(candidates, known, *, exposures=None, tolerance=2.0):
    return match_known(
        candidates,
        make_exposures() if exposures is None else exposures,
        known,
        match_radius=1.0,
        mjd_tolerance=tolerance,
    )


@pytest.mark.parametrize(
    ("arcsec", "radius", "found"),
    [(2.6, np.nan, True), (2.8, np.nan, False), (2.8, 5.0, True), (5.1, 5.0, False)],
)
def test_object_is_found_within_the_fwhm_or_its_own_radius(arcsec, radius, found):
    candidates = make_candidates((10, 60 + arcsec * ARCSEC))
    on_known = find(candidates, make_known(("variable", 10.0, 60.0, np.nan, radius)))

    assert list(on_known["known_kind"]) == ["variable" if found else ""]
    # Of a position in degrees 1e-14 are lost to rounding: far below 1e-6 arcsec.
    wanted = arcsec if found else np.nan
    assert on_known["known_separation"][0] == pytest.approx(
        wanted, abs=1e-6, nan_ok=True
    )
    assert on_known["known_separation"].unit == u.arcsec


def test_right_ascensions_shrink_with_the_declination_and_wrap():
    # 4 arcsec of right ascension are 2 arcsec on the sky at a declination of 60.
    candidates = make_candidates((359.9999, 60), (359.9999, 0))
    known = make_known(
        ("variable", (359.9999 + 4 * ARCSEC) % 360, 60.0),
        ("variable", (359.9999 + 4 * ARCSEC) % 360, 0.0),
    )
    found = find(candidates, known)

    assert list(found["known_name"]) == ["k0", ""]
    assert found["known_separation"][0] == pytest.approx(2, abs=1e-3)


def test_a_minor_planet_is_there_at_its_time_alone():
    candidates = make_candidates((10, 20), (10, 20))
    candidates["exposure_id"] = ["e0", "e1"]
    minute = 1 / 1440
    for shift, found in ((0, True), (-1.9, True), (-2.1, False), (2.9, True)):
        known = make_known(("minor planet", 10.0, 20.0, MJD + shift * minute))
        kinds = list(find(candidates, known)["known_kind"])
        assert kinds == ["minor planet" if found else "", ""]


def test_an_exposure_without_a_time_has_no_minor_planets():
    exposures = make_exposures(mjd=np.nan)
    known = make_known(("minor planet", 10.0, 20.0, MJD), ("variable", 10.1, 20.0))
    candidates = make_candidates((10, 20), (10.1, 20))
    found = find(candidates, known, exposures=exposures)

    assert list(found["known_kind"]) == ["", "variable"]
    words = describe_known(found, candidates, exposures, known)
    assert "2 exposures have no time" in words[-1]


def test_what_says_most_names_a_candidate():
    at = 10.0, 20.0
    known = make_known(
        ("galaxy", *at), ("star", *at), ("variable", 10.0, 20 + ARCSEC), ("agn", *at)
    )
    candidates = make_candidates(at)

    assert list(find(candidates, known)["known_kind"]) == ["agn"]
    assert list(find(candidates, known[:3])["known_kind"]) == ["variable"]
    assert list(find(candidates, known[:2])["known_kind"]) == ["star"]


def test_what_could_not_be_found_is_counted():
    candidates = make_candidates((10, 20), (np.nan, np.nan))
    known = make_known(("star", 10.0, 20.0), ("star", 200.0, -20.0))
    known.meta = {"n_no_place": 3, "n_no_time": 4}
    found = find(candidates, known)
    words = describe_known(found, candidates, make_exposures(), known)

    assert words == [
        "1 of 2 known objects lie in the field, and 1 of 2 candidates on one of them.",
        "3 known objects have no position and are left out.",
        "4 known minor planets have no mjd and are left out.",
        "1 candidates have no position on the sky: none of them can be known.",
    ]


def test_without_known_objects_nothing_is_known_and_that_is_said():
    for candidates in (make_candidates((10, 20)), make_candidates()):
        known = make_known()
        found = find(candidates, known)
        assert len(found) == len(candidates)
        assert set(found["known_kind"]) <= {""}
        [text] = describe_known(found, candidates, make_exposures(), known)
        assert "No known objects" in text


@pytest.fixture
def labelled():
    """Label four unmatched candidates and an injected one, all on known objects."""

    def make(*, method="kernel", good=True, bogus=True):
        places = [(10 + i / 100, 20.0) for i in range(6)]
        candidates = make_candidates(*places)
        kinds = ("variable", "star", "agn", "transient", "variable")
        known = make_known(
            *((kind, *place) for kind, place in zip(kinds, places, strict=False))
        )
        matches = Table({"candidate_id": [*candidates["candidate_id"], ""]})
        matches["exposure_id"] = "e0"
        matches["source_id"] = ["", "", "", "", "s0", "", "s1"]
        matches["match"] = [*["unmatched"] * 4, "matched", "unmatched", "missed"]
        subtractions = Table({"exposure_id": ["e0"], "method": [method]})
        subtractions["good"] = good
        return crossmatch_table(
            [matches],
            candidates,
            make_exposures(),
            subtractions,
            label_unmatched_as_bogus=bogus,
            known=find(candidates, known),
        )

    return make


def test_what_lies_on_a_known_object_is_never_bogus(labelled):
    table = labelled()
    assert list(table["auto_label"]) == [
        *("known", "bogus", "ambiguous", "known", "real", "bogus"),
        "",
    ]
    assert list(table["auto_origin"]) == [
        *("catalog", "unmatched", "catalog", "catalog", "injected", "unmatched"),
        "",
    ]
    assert list(table["known_kind"]) == [
        *("variable", "star", "agn", "transient", "variable", "", ""),
    ]
    assert np.isnan(table["known_separation"][-2:]).all()


def test_known_objects_are_known_whatever_the_others_are(labelled):
    labels = list(labelled(bogus=False)["auto_label"])
    assert labels == ["known", "", "ambiguous", "known", "real", "", ""]


def test_a_poor_subtraction_or_none_teaches_nothing_of_known_objects(labelled):
    assert set(labelled(good=False)["auto_label"]) == {""}
    assert set(labelled(method="none")["auto_label"]) == {"", "real"}
