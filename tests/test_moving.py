import numpy as np
import pytest
from astropy.table import Table, vstack

from gmadet_nb.imaging.measure import FLAG_BITS
from gmadet_nb.imaging.moving import find_moving

SCALE, FWHM = 1.5, 3.0  # arcsec/pixel, pixel


def make_exposures(n):
    # Not evenly spaced: constant speed is not constant steps.
    mjd = 60000 + np.cumsum(np.linspace(3, 8, n)) / 1440
    names = [f"e{i}" for i in range(n)]
    return Table({"exposure_id": names, "mjd": mjd, "pixel_scale": [SCALE] * n})


def make_points(exposures, x, y, name, *, flux=1000.0, ra=150.0, dec=20.0):
    """Return a point-like candidate in each exposure, at (x, y) [pixel]."""
    n = len(exposures)
    x, y = np.broadcast_to(x, n), np.broadcast_to(y, n)
    return Table(
        {
            "candidate_id": [f"{e}_{name}" for e in exposures["exposure_id"]],
            "exposure_id": exposures["exposure_id"],
            "ra": (ra + x * SCALE / 3600 / np.cos(np.radians(dec))) % 360,
            "dec": dec + y * SCALE / 3600,
            "flux": np.broadcast_to(flux, n).astype(float),
            "snr": np.full(n, 20.0),
            "psf_chi2": np.ones(n),
            "fwhm": np.full(n, FWHM),
            "psf_fwhm": np.full(n, FWHM),
            "flags": np.zeros(n, np.int32),
        }
    )


def make_mover(exposures, name="m", *, speed=1.0, start=(100.0, 200.0), **columns):
    """Let one move at a speed [pixel/minute], twice as fast in x as in y."""
    minutes = (exposures["mjd"] - exposures["mjd"][0]) * 1440
    x, y = start[0] + speed * minutes, start[1] + speed * minutes / 2
    return make_points(exposures, x, y, name, **columns)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_constant_speed_is_found_in_all_exposures(n):
    exposures = make_exposures(n)
    mover = make_mover(exposures)
    assert find_moving(mover, exposures) == list(mover["candidate_id"])


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.999, 45.0)])
def test_right_ascension_wraps(ra, dec):
    exposures = make_exposures(4)
    mover = make_mover(exposures, ra=ra, dec=dec)
    assert len(find_moving(mover, exposures)) == 4


def test_two_of_them_and_what_stands_still_are_told_apart():
    exposures = make_exposures(5)
    first = make_mover(exposures, "a")
    second = make_mover(exposures, "b", speed=-1.0, start=(700.0, 300.0))
    still = make_points(exposures, 400.0, 400.0, "star")
    found = find_moving(vstack([first, still, second]), exposures)
    assert sorted(found) == sorted([*first["candidate_id"], *second["candidate_id"]])


def test_half_of_the_exposures_are_enough_and_fewer_are_not():
    exposures = make_exposures(8)
    mover = make_mover(exposures)
    still = make_points(exposures, 400.0, 400.0, "star")
    assert len(find_moving(vstack([still, mover[::2]]), exposures)) == 4
    assert find_moving(vstack([still, mover[::3]]), exposures) == []
    assert find_moving(mover[:2], exposures) == []


def test_a_step_off_the_path_is_no_path():
    exposures = make_exposures(3)
    mover = make_mover(exposures)
    mover["dec"][1] += 1.5 * FWHM * SCALE / 3600
    assert find_moving(mover, exposures) == []


def test_what_changes_its_brightness_too_much_is_no_path():
    exposures = make_exposures(3)
    assert find_moving(make_mover(exposures, flux=[1000, 3000, 1000]), exposures) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("psf_chi2", 20.0),
        ("fwhm", 0.4 * FWHM),
        ("fwhm", np.nan),
        ("flags", FLAG_BITS["repeats"]),
        ("ra", np.nan),
    ],
)
def test_what_is_no_point_or_has_no_place_stays_bogus(column, value):
    exposures = make_exposures(4)
    mover = make_mover(exposures)
    mover[column] = value
    assert find_moving(mover, exposures) == []


def test_without_times_nothing_moves():
    exposures = make_exposures(4)
    mover = make_mover(exposures)
    exposures["mjd"] = np.nan
    assert find_moving(mover, exposures) == []
    assert find_moving(mover[:0], exposures) == []


def make_crowd(exposures, n_each, rng):
    """Draw point-like candidates at random, n in each exposure, in a million pixels."""
    n = len(exposures)
    return vstack(
        [
            make_points(
                exposures,
                rng.uniform(0, 1000, n),
                rng.uniform(0, 1000, n),
                f"c{i}",
                flux=np.exp(rng.uniform(0, np.log(25), n)),
            )
            for i in range(n_each)
        ]
    )


def test_what_is_faster_than_a_minor_planet_is_no_path():
    exposures = make_exposures(4)
    # 1.3 pixel a minute in x and half of that in y are 2.2 arcsec a minute.
    assert find_moving(make_mover(exposures, speed=1.3), exposures) == []
    assert len(find_moving(make_mover(exposures, speed=1.1), exposures)) == 4


@pytest.mark.parametrize("n_each", [15, 40, 80, 150])
def test_random_candidates_are_on_no_path(rng, n_each):
    exposures = make_exposures(5)
    n_found = sum(
        len(find_moving(make_crowd(exposures, n_each, rng), exposures))
        for _ in range(5)
    )
    # Ten triples of exposures, whose ends are within 2 arcsec a minute (500 to 3,400 px
    # of 10^6) and of like flux (0.43), the third within 28 px: of 150 each 0.35 paths a
    # night, 1.8 in five; five sigma of Poisson above it.
    assert n_found <= 3 * (1.8 + 5 * np.sqrt(1.8))


def test_where_chance_makes_paths_it_takes_more_exposures(rng, caplog):
    caplog.set_level("INFO")
    exposures = make_exposures(5)
    exposures["mjd"] = 60000 + np.arange(5) / 24
    crowd = make_crowd(exposures, 150, rng)
    # In an hour an object can be anywhere within 80 px: lines through three are many.
    assert len(find_moving(crowd, exposures)) == 0
    assert "chance explains them" in caplog.text
    mover = make_mover(exposures, speed=0.2)
    found = find_moving(vstack([crowd, mover]), exposures)
    assert set(found) >= set(mover["candidate_id"])
    # One of the crowd may lie on the way, too.
    assert len(found) <= 6


def test_no_light_is_on_no_path():
    exposures = make_exposures(4)
    assert find_moving(make_mover(exposures, flux=-5.0), exposures) == []
