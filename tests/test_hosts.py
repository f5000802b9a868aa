import numpy as np
import pytest
from astropy.table import Table

from gmadet_nb.imaging.hosts import find_hosts, nearest
from gmadet_nb.learning.surroundings import add_known
from gmadet_nb.sky.hosts import galaxy_distances

FWHM, SCALE = 3.0, 0.9  # [pixel], [arcsec/pixel]
SHAPE = 150, 200


class Difference:
    """The planes of a difference that the search for galaxies reads."""

    def __init__(self, reference, mask=None):
        self.reference = reference.astype(np.float32)
        self.mask = np.zeros(SHAPE, np.uint8) if mask is None else mask

    @property
    def usable(self):
        return self.mask == 0


def draw(places, sigma, flux, *, rng, ratio=1.0):
    """Return an image of round or long Gaussians on noise of 1 adu."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = rng.normal(100, 1, SHAPE)
    for (x0, y0), width in zip(places, sigma, strict=True):
        shape = np.exp(-(((x - x0) / width) ** 2 + ((y - y0) / width / ratio) ** 2) / 2)
        image += flux * shape / shape.sum()
    return image


@pytest.fixture
def field(rng):
    """Return a difference whose reference has 30 stars and 2 galaxies of 3 times."""
    stars = [(20 + 30 * i, 20 + 25 * j) for i in range(6) for j in range(5)]
    galaxies = [(35.0, 108.0), (155.0, 32.0)]
    sigma = [1.3] * len(stars) + [3.9] * len(galaxies)
    return Difference(draw(stars + galaxies, sigma, 3000, rng=rng)), galaxies


def test_galaxies_of_the_reference_are_found_and_stars_are_not(field):
    difference, galaxies = field
    hosts = find_hosts(difference)

    assert len(hosts) == 2
    found = sorted(zip(hosts["x"], hosts["y"], strict=True))
    # 3000 adu over a noise of 1 adu: far better than half a pixel.
    np.testing.assert_allclose(found, sorted(galaxies), atol=0.5)
    # Half of a Gaussian's light is within 1.18 sigma.
    assert hosts["half_light_radius"] == pytest.approx(1.18 * 3.9, rel=0.15)


def test_without_a_reference_or_a_star_nothing_is_looked_for(rng):
    assert find_hosts(Difference(np.full(SHAPE, np.nan))) is None
    assert find_hosts(Difference(rng.normal(100, 1, SHAPE))) is None


def test_the_nearest_galaxy_and_the_one_that_reaches_farthest_may_be_two():
    hosts = np.array([[0.0, 0.0], [10.0, 0.0]])
    distance, in_radii = nearest(np.array([[4.0, 0.0]]), hosts, [1.0, 12.0])

    assert distance == [4]
    assert in_radii == [0.5]


def test_no_galaxy_is_infinitely_far():
    distance, in_radii = nearest(np.zeros((3, 2)), np.zeros((0, 2)), [])

    assert np.isinf(distance).all()
    assert np.isinf(in_radii).all()


def make_night(*, ra=(10.0, 10.0, 10.0)):
    names = ("candidate_id", "exposure_id", "x", "y", "ra", "dec", "psf_fwhm")
    places = [(f"c{i}", f"e{i}", 10.0, 10.0, ra[i], 60.0, FWHM) for i in range(3)]
    exposures = Table({"exposure_id": ["e0", "e1", "e2"], "pixel_scale": [SCALE] * 3})
    return Table(rows=places, names=names), exposures


def make_galaxies(*rows, names=("x", "y", "half_light_radius")):
    return Table(rows=rows or None, names=names, dtype=(float,) * 3)


def no_known():
    names = ("kind", "ra", "dec", "radius")
    return Table(names=names, dtype=(str, float, float, float))


def test_galaxies_seen_on_an_exposure_count_on_that_one_alone():
    candidates, exposures = make_night()
    seen = {"e0": make_galaxies((13.0, 14.0, 10.0)), "e1": make_galaxies(), "e2": None}
    found = galaxy_distances(candidates, exposures, seen, no_known(), match_radius=1.0)

    assert list(found["galaxy_distance"][:2]) == [5, np.inf]
    assert list(found["galaxy_radii"][:2]) == [0.5, np.inf]
    # Nobody looked.
    assert np.isnan(found["galaxy_distance"][2])
    assert np.isnan(found["galaxy_radii"][2])


def test_known_galaxies_count_where_there_is_a_position():
    candidates, exposures = make_night(ra=(10.0, 10.0, np.nan))
    known = no_known()
    known.add_row(("galaxy", 10.0, 60 + 9 / 3600, 18.0))
    known.add_row(("star", 10.0, 60.0, 18.0))
    seen = {"e0": None, "e1": make_galaxies((13.0, 14.0, 100.0)), "e2": None}
    found = galaxy_distances(candidates, exposures, seen, known, match_radius=1.0)

    # 9 arcsec are 10 pixels; the galaxy seen on e1 is nearer. A position in degrees
    # is rounded at 1e-14 and a chord at 1e-16 radian: far below 1e-4 pixel.
    distance, radii = found["galaxy_distance"], found["galaxy_radii"]
    assert distance[:2] == pytest.approx([10, 5], abs=1e-4)
    assert radii[:2] == pytest.approx([0.5, 0.05], abs=1e-4)
    assert np.isnan(distance[2])


def test_a_known_galaxy_without_a_radius_reaches_as_far_as_a_match():
    candidates, exposures = make_night()
    known = no_known()
    known.add_row(("galaxy", 10.0, 60 + 2.7 / 3600, np.nan))
    found = galaxy_distances(candidates, exposures, {}, known, match_radius=2.0)

    # 2.7 arcsec are one FWHM, half of the reach.
    assert found["galaxy_radii"] == pytest.approx([0.5] * 3, abs=1e-4)


def test_a_width_that_is_not_known_takes_no_distance_from_others():
    candidates, exposures = make_night()
    known = no_known()
    known.add_row(("galaxy", 10.0, 60 + 2.7 / 3600, np.nan))
    candidates["psf_fwhm"][0] = np.nan
    found = galaxy_distances(candidates, exposures, {}, known, match_radius=2.0)
    assert found["galaxy_radii"] == pytest.approx([0.5] * 3, abs=1e-4)

    # Without any width this galaxy's reach is not known, and the others count.
    candidates["psf_fwhm"] = np.nan
    found = galaxy_distances(candidates, exposures, {}, known, match_radius=2.0)
    assert np.isnan(found["galaxy_radii"]).all()
    assert found["galaxy_distance"] == pytest.approx([3.0] * 3, abs=1e-4)
    known.add_row(("galaxy", 10.0, 60 + 9 / 3600, 18.0))
    found = galaxy_distances(candidates, exposures, {}, known, match_radius=2.0)
    assert found["galaxy_radii"] == pytest.approx([0.5] * 3, abs=1e-4)


def test_what_the_crossmatch_knows_is_joined_by_candidate():
    candidates = Table({"candidate_id": ["b", "a", "c", "x"]})
    crossmatch = Table({"candidate_id": ["a", "", "b", "c"]})
    crossmatch["known_kind"] = ["variable", "", "", ""]
    crossmatch["known_name"] = ["V1", "", "", ""]
    crossmatch["known_separation"] = [0.3, np.nan, np.nan, np.nan]
    crossmatch["galaxy_distance"] = [1.0, np.nan, 7.0, np.nan]
    crossmatch["galaxy_radii"] = [0.9, np.nan, 1.1, np.nan]
    table = add_known(candidates, crossmatch)

    assert list(table["known_kind"]) == ["", "variable", "", ""]
    assert (table["known_name"][1], table["known_separation"][1]) == ("V1", 0.3)
    assert list(table["on_galaxy"][:2]) == [0, 1]
    assert np.isnan(table["on_galaxy"][2:]).all()
    assert table["galaxy_distance"][0] == 7


def test_a_crossmatch_of_an_earlier_version_knows_nothing():
    table = add_known(Table({"candidate_id": ["a"]}), Table({"candidate_id": ["a"]}))

    assert (table["known_kind"][0], table["known_name"][0]) == ("", "")
    assert np.isnan(table["on_galaxy"]).all()
