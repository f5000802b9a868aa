import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.imaging.ghosts import describe, find_ghosts

FWHM = 4.0
SIDE = 512


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def spread(rng, n):
    return rng.uniform(0, SIDE, size=(n, 2))


def table(places, **columns):
    return Table({"x": places[:, 0], "y": places[:, 1]} | columns)


def sources(rng, n=400):
    return table(spread(rng, n), flux=rng.pareto(1.0, n))


def brightest(stars, n):
    rows = stars[np.argsort(-stars["flux"])[:n]]
    return np.column_stack([rows["x"], rows["y"]])


def test_images_of_stars_at_one_offset_are_found(rng):
    stars = sources(rng)
    ghosts = (
        brightest(stars, 40) + np.array([24.0, -17.0]) + rng.normal(0, 0.5, (40, 2))
    )
    candidates = table(np.concatenate([ghosts, spread(rng, 100)]))

    found = find_ghosts(candidates, stars, fwhm=FWHM)

    assert found.clear
    assert found.n >= 36
    # The mean of 36 offsets, and those of chance neighbours within 0.75 FWHM.
    assert (found.dx, found.dy) == (pytest.approx(24, abs=1), pytest.approx(-17, abs=1))
    assert "(+24, -17) pixels" in describe(found, len(candidates))


@pytest.mark.parametrize("n", [0, 5, 200, 3000])
def test_candidates_by_chance_are_none(rng, n):
    assert not find_ghosts(table(spread(rng, n)), sources(rng), fwhm=FWHM).clear


def test_residuals_around_bright_stars_are_none(rng):
    stars = sources(rng)
    around = np.repeat(brightest(stars, 60), 3, axis=0)
    angle = rng.uniform(0, 2 * np.pi, len(around))
    reach = FWHM * rng.uniform(0.5, 6.0, len(around))
    halo = around + (reach * [np.cos(angle), np.sin(angle)]).T
    assert not find_ghosts(table(halo), stars, fwhm=FWHM).clear


def test_a_pair_at_the_star_itself_is_its_residual(rng):
    stars = sources(rng)
    dipoles = brightest(stars, 60) + np.array([0.0, FWHM])
    assert not find_ghosts(table(dipoles), stars, fwhm=FWHM).clear


def test_a_few_at_one_offset_among_many_candidates_are_let_pass(rng):
    stars = sources(rng)
    ghosts = brightest(stars, 30) + np.array([20.0, 0.0])
    candidates = table(np.concatenate([ghosts, spread(rng, 800)]))
    found = find_ghosts(candidates, stars, fwhm=FWHM)
    assert found.n >= 30
    assert not found.clear
