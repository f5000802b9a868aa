import numpy as np
import pytest
from astropy.table import Table
from star_fields import expose, measure, moffat, scatter_stars, true_fwhm

from gmadet_nb.files.images import make_mask
from gmadet_nb.imaging.stars import choose_stars, mark_stars

SHAPE = (330, 450)  # (ny, nx), not square
NOISE = np.sqrt(200 / 2 + (5 / 2) ** 2)  # of the sky of `star_fields.expose` [adu]
SATURATION = 59000.0


def some(objects, **changes):
    """Return the objects with some columns changed."""
    changed = objects.copy()
    for name, values in changes.items():
        changed[name] = values
    return changed


def add_rays(data, rays, rng):
    """Add tracks of one to four pixels."""
    for ray in rays:
        angle, n = rng.uniform(0, np.pi), rng.integers(1, 5)
        x = ray["x"] + np.arange(n) * np.cos(angle)
        y = ray["y"] + np.arange(n) * np.sin(angle)
        data[y.astype(int), x.astype(int)] += 0.5 * ray["flux"] / n


@pytest.fixture
def scene(make_image, rng):
    """Return a function that makes an image of objects of which not all are stars."""

    def make(fwhm, **shares):
        objects = scatter_stars(SHAPE, rng, cell=30, flux=(1e4, 2e5))
        kinds = np.repeat(list(shares), list(shares.values()))
        kind = rng.permutation(np.resize(kinds, len(objects)))
        of = {name: objects[kind == name] for name in shares}
        stars, blends = moffat(SHAPE, fwhm), of["blend"]
        expected = expose(stars, of["star"]).astype(float)
        expected += expose(stars, some(of["saturated"], flux=3e6), sky=0.0)
        for galaxy in of["galaxy"]:
            wide = moffat(SHAPE, fwhm * rng.uniform(1.3, 2.2))
            one = {name: [galaxy[name]] for name in ("x", "y", "flux")}
            expected += expose(wide, one, sky=0.0)
        apart = fwhm * rng.uniform(0.8, 1.8, len(blends))
        angle = rng.uniform(0, 2 * np.pi, len(blends))
        second = some(
            blends,
            x=blends["x"] + apart * np.cos(angle),
            y=blends["y"] + apart * np.sin(angle),
            flux=blends["flux"] * rng.uniform(0.3, 1, len(blends)),
        )
        for part in (blends, second):
            expected += expose(stars, part, sky=0.0)
        data = (rng.poisson(2 * expected) + rng.normal(0, 5, SHAPE)) / 2
        add_rays(data, of["ray"], rng)
        data = np.minimum(data, 60000).astype(np.float32)
        mask = make_mask(data, SATURATION)
        image = make_image(data=data, mask=mask, saturation=SATURATION)
        return image, some(objects, kind=kind), true_fwhm(stars, 0, 0)

    return make


def kinds_of(found, objects):
    """Return how many of each kind of object were found."""
    dx = np.asarray(found["x"])[:, None] - np.asarray(objects["x"])
    dy = np.asarray(found["y"])[:, None] - np.asarray(objects["y"])
    nearest = objects["kind"][np.hypot(dx, dy).argmin(axis=1)]
    return {kind: np.sum(nearest == kind) for kind in np.unique(objects["kind"])}


@pytest.mark.parametrize("fwhm", [2.0, 3.0, 4.0])
def test_psf_is_measured_on_stars_and_on_nothing_else(scene, fwhm):
    image, objects, truth = scene(fwhm, star=5, galaxy=2, blend=2, ray=2, saturated=1)
    _, sources, psf, kept = measure(image, NOISE)
    n = {kind: np.sum(objects["kind"] == kind) for kind in np.unique(objects["kind"])}
    marked = kinds_of(sources[sources["is_star"]], objects)
    kept = kinds_of(kept, objects)

    assert marked["ray"] == marked["saturated"] == 0
    # Their widths are 1.3 to 2.2 times the stars', 0.26 or more in ln(radius), and the
    # sequence ends within 0.25.
    assert marked["galaxy"] == 0
    # Close pairs pass for stars at first; they do not fit the PSF of the others.
    assert kept["galaxy"] == kept["blend"] == 0
    # 2 widths of the brighter half hold 95 % of a Gaussian, and the fit drops some.
    assert kept["star"] > 0.85 * n["star"]
    assert psf.fwhm == pytest.approx(truth, rel=0.01)


def test_twice_as_many_galaxies_as_stars_do_not_pass_for_them(scene):
    image, objects, truth = scene(3.0, star=2, galaxy=4, blend=2, ray=1, saturated=1)
    _, sources, psf, _ = measure(image, NOISE)
    marked = kinds_of(sources[sources["is_star"]], objects)

    assert marked["galaxy"] <= 0.05 * marked["star"]
    assert psf.fwhm == pytest.approx(truth, rel=0.015)


def test_width_that_varies_over_the_field_costs_no_corner(make_image, rng):
    # From left to right the stars grow by a third.
    truth = moffat(SHAPE, 3.0, tilt_x=0.15)
    objects = scatter_stars(SHAPE, rng, cell=30, flux=(1e4, 2e5))
    data = expose(truth, objects, rng=rng)
    image = make_image(data=data, mask=np.zeros(SHAPE, np.uint8))
    kept = measure(image, NOISE, degree=2)[3]

    for side in (kept["x"] < SHAPE[1] / 3, kept["x"] > 2 * SHAPE[1] / 3):
        # All are marked; the fit of the PSF drops up to a third of the narrow ones.
        assert np.sum(side) > 0.6 * len(objects) / 3


def test_stars_are_told_from_galaxies_saturated_and_long_sources(rng):
    n = 40
    sources = Table(
        {
            "x": rng.uniform(0, 300, n),
            "y": rng.uniform(0, 200, n),
            "flux": np.geomspace(1e6, 1e3, n),
            "half_light_radius": 1.7 * (1 + 0.02 * rng.standard_normal(n)),
            "elongation": np.full(n, 1.1),
            "peak": np.geomspace(5e4, 5e1, n),
            "usable": np.ones(n, bool),
        }
    )
    sources["half_light_radius"][3], sources["elongation"][4] = 3.5, 2.0
    sources["usable"][5], sources["half_light_radius"][6] = False, np.nan
    is_star = mark_stars(sources, saturation_peak=4e4)

    assert not is_star[[0, 3, 4, 5, 6]].any()
    # Two robust widths of 2 % hold 95 % of the others.
    assert is_star.sum() >= 0.8 * (n - 6)


def test_no_sources_hold_no_stars():
    names = ("flux", "half_light_radius", "elongation", "peak", "x", "y")
    sources = Table({name: np.zeros(0) for name in names})
    sources["usable"] = np.zeros(0, bool)
    sources["is_star"] = mark_stars(sources, saturation_peak=1e4)

    assert len(choose_stars(sources)) == 0


def test_stars_with_a_bright_neighbour_are_not_chosen():
    sources = Table(
        {
            "x": [20.0, 60.0, 65.0, 100.0, 104.0],
            "y": [20.0, 20.0, 20.0, 20.0, 20.0],
            "flux": [1e4, 2e4, 1e4, 5e4, 1e3],
            "half_light_radius": [1.5] * 5,
            "is_star": [True] * 5,
        }
    )
    # FWHM 3, so 6 pixels: 5 is near, and 1e3 is too faint to trouble 5e4.
    assert list(choose_stars(sources)["flux"]) == [5e4, 1e4]
