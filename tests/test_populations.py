import numpy as np
import pytest

from gmadet_nb.learning.completeness import binomial_interval
from gmadet_nb.learning.populations import compare_populations, count_kept


def draw(name, n_sky, kept_sky, n_galaxy, kept_galaxy):
    kept = [i < kept_sky for i in range(n_sky)]
    kept += [i < kept_galaxy for i in range(n_galaxy)]
    return count_kept(name, kept, [False] * n_sky + [True] * n_galaxy)


def test_each_place_is_counted_with_its_interval():
    table = draw("transients", 20, 20, 10, 6)

    assert list(table["place"]) == ["all", "empty sky", "on a galaxy"]
    assert list(table["n"]) == [30, 20, 10]
    assert table["kept"] == pytest.approx([26 / 30, 1, 0.6])
    assert (table["low"][2], table["high"][2]) == binomial_interval(6, 10)


def test_population_that_falls_behind_the_injected_is_said():
    injected = draw("injected", 500, 498, 500, 490)
    table, words = compare_populations(injected, [draw("transients", 60, 60, 60, 42)])

    assert len(table) == 6
    # On empty sky none is lost; on galaxies, and so in all, every third.
    assert [("empty sky" in w, "on a galaxy" in w) for w in words] == [
        (False, False),
        (False, True),
    ]
    assert "70% (57% to 81%, 60) are kept" in words[1]


def test_few_or_no_sources_prove_nothing():
    injected = draw("injected", 500, 498, 0, 0)
    few = draw("transients", 3, 3, 2, 1)
    table, words = compare_populations(injected, [few, draw("variables", 0, 0, 0, 0)])

    assert words == []
    assert np.isnan(table["kept"][-3:]).all()


def test_sources_of_unknown_place_are_counted_among_all_alone():
    table = count_kept("confirmed", [True, True, False, False], [1, 0, 0, np.nan])
    assert list(table["n"]) == [4, 2, 1]
    assert list(table["n_kept"]) == [2, 1, 1]


def test_a_place_that_is_not_known_is_not_counted():
    table = count_kept("confirmed", [True, True, False], None)
    assert list(table["place"]) == ["all"]
    assert (table["n"][0], table["n_kept"][0]) == (3, 2)
    _, words = compare_populations(draw("injected", 500, 498, 0, 0), [table])
    assert words == []
