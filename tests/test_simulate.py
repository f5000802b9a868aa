import numpy as np
import pytest
from astropy.table import Table, vstack
from astropy.wcs import WCS
from star_fields import known_psf

from gmadet_nb.errors import BadParameterError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.simulate import (
    draw_sources,
    find_galaxies,
    flux_to_snr,
    inject_sources,
    snr_to_flux,
)

NO_GALAXIES = (0.0, Table({"x": [], "y": [], "half_light_radius": []}))


def flat_psf(x, y):
    return np.full((5, 5), 1 / 25)


@pytest.fixture
def psf():
    return known_psf((120, 160), 3.0)


@pytest.fixture
def draw(psf, rng):
    def draw(image, *, n_sources=50, **changes):
        settings = {
            "brightness": ("mag", 15.0, 20.0),
            "galaxies": NO_GALAXIES,
            "min_separation": 2.0,
            "rng": rng,
        }
        variance = np.full(image.data.shape, 50.0)
        return draw_sources(
            image, psf, variance, n_sources=n_sources, **(settings | changes)
        )

    return draw


def place(x, y, flux):
    n = len(x)
    return Table({"x": x, "y": y, "flux": np.full(n, float(flux)), "row": np.arange(n)})


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0])
def test_injected_noise_has_variance_flux_over_gain(make_image, rng, gain):
    # 40 x 40 sources of 1000 adu whose 5 x 5 stamps tile the image exactly.
    y, x = 5 * np.mgrid[:40, :40].reshape(2, -1) + 2.0

    image, _ = inject_sources(
        make_image(shape=(200, 200), background=0.0, gain=gain),
        place(x, y, 1000),
        flat_psf,
        rng=rng,
    )
    totals = image.data.reshape(40, 5, 40, 5).sum(axis=(1, 3))

    # From 1600 draws the variance is known to sqrt(2 / 1600) = 3.5 %.
    assert totals.mean() == pytest.approx(1000, abs=5 * np.sqrt(1000 / gain / 1600))
    assert totals.var() == pytest.approx(1000 / gain, rel=5 * 0.035)


def test_mean_of_a_psf_that_dips_below_zero_is_kept(make_image, rng):
    stamp = np.full((5, 5), -0.01)
    stamp[2, 2] = 1.24
    y, x = 5 * np.mgrid[:40, :40].reshape(2, -1) + 2.0
    image, _ = inject_sources(
        make_image(shape=(200, 200), background=0.0, gain=1.0),
        place(x, y, 1000),
        lambda x, y: stamp,
        rng=rng,
    )

    # 1240 counts in the middle pixel scatter by sqrt(1240), over 1600 sources.
    assert image.data.sum() / 1600 == pytest.approx(1000, abs=5 * 35.2 / 40)


@pytest.mark.parametrize(
    ("x", "y"), [(40.0, 70.0), (40.5, 70.0), (40.37, 69.51), (39.5, 70.82)]
)
def test_injected_source_is_where_it_was_put(make_image, psf, rng, x, y):
    image, _ = inject_sources(
        make_image(background=0.0, gain=1e4, saturation=np.inf),
        place([x], [y], 1e5),
        psf,
        rng=rng,
    )
    rows, columns = np.indices(image.data.shape)
    total = image.data.sum(dtype=float)

    # The stamp is cut off at a whole pixel, which shifts the moments by its rim.
    assert total == pytest.approx(1e5, rel=5 / np.sqrt(1e9))
    assert (columns * image.data).sum() / total == pytest.approx(x, abs=0.02)
    assert (rows * image.data).sum() / total == pytest.approx(y, abs=0.02)


def test_x_is_along_the_columns(make_image, psf, rng):
    image, _ = inject_sources(
        make_image(background=0.0), place([150.0], [20.0], 1e4), psf, rng=rng
    )

    assert np.unravel_index(image.data.argmax(), image.data.shape) == (20, 150)


def test_pixel_without_a_value_stays_without(make_image, psf, rng):
    image = make_image()
    image.data[60, 80] = np.nan
    image.mask[60, 80] = MASK_BITS["bad"]
    injected, sources = inject_sources(image, place([80.0], [60.0], 1e4), psf, rng=rng)

    assert np.isnan(injected.data[60, 80])
    assert np.isfinite(injected.data).sum() == injected.data.size - 1
    assert injected.mask[60, 80] & MASK_BITS["bad"]
    assert not sources["saturated"][0]


def test_saturated_pixels_are_cut_off_and_flagged(make_image, psf, rng):
    image = make_image(saturation=1000.0)
    injected, sources = inject_sources(
        image, place([80.0, 30.0], [60.0, 30.0], 1e5), psf, rng=rng
    )
    faint, faint_sources = inject_sources(
        image, place([80.0], [60.0], 1e3), psf, rng=rng
    )

    assert injected.data.max() == 1000
    assert list(sources["saturated"]) == [True, True]
    saturated = (injected.mask & MASK_BITS["saturated"]) > 0
    assert saturated[60, 80]
    assert saturated[injected.data >= 1000].all()
    # It spoils its neighbours too, as in an image that is read.
    assert saturated.sum() > (injected.data >= 1000).sum()
    assert not faint_sources["saturated"].any()
    assert not (faint.mask & MASK_BITS["saturated"]).any()


def test_source_beside_a_saturated_star_is_not_saturated_itself(make_image, psf, rng):
    image = make_image(saturation=1000.0)
    image.data[60, 86] = 5000.0
    injected, sources = inject_sources(image, place([80.0], [60.0], 500), psf, rng=rng)

    assert not sources["saturated"][0]
    assert injected.data[60, 86] == 5000  # what was above it stays as it was


@pytest.mark.parametrize(
    ("x", "y"), [(-200.0, 60.0), (80.0, 1000.0), (1e6, -1e6), (-13.0, 60.0)]
)
def test_source_off_the_image_is_flagged(make_image, psf, rng, x, y):
    image = make_image()
    injected, sources = inject_sources(image, place([x], [y], 1e5), psf, rng=rng)

    assert not sources["injected"][0]
    np.testing.assert_array_equal(injected.data, image.data)
    assert injected.header["NSIMUL"] == 0


def test_source_at_the_edge_leaves_what_is_on_the_image(make_image, psf, rng):
    image, sources = inject_sources(
        make_image(background=0.0, gain=100.0), place([0.0], [60.0], 1e4), psf, rng=rng
    )
    column = psf(0.0, 60.0)[:, psf.radius].sum()

    # Half of it, and half of the middle column.
    assert sources["injected"][0]
    assert image.data.sum() == pytest.approx(1e4 * (0.5 + column / 2), rel=0.01)


def test_rows_come_back_in_order_and_nothing_else_changes(make_image, psf, rng):
    image = make_image(noise=5.0)
    sources = place([80.0, -500.0, 20.0], [60.0, 0.0, 30.0], 1e4)
    before = image.data.copy(), image.mask.copy(), sources.copy()
    injected, rows = inject_sources(image, sources, psf, rng=rng)

    assert list(rows["row"]) == [0, 1, 2]
    assert list(rows["injected"]) == [True, False, True]
    np.testing.assert_array_equal(image.data, before[0])
    np.testing.assert_array_equal(image.mask, before[1])
    assert sources.colnames == before[2].colnames
    assert "SIMULATD" not in image.header
    assert injected.header["SIMULATD"]
    far = np.hypot(*(np.indices(image.data.shape) - [[[60]], [[80]]])) > 20
    far[10:51, :41] = False
    np.testing.assert_array_equal(injected.data[far], image.data[far])


def test_core_of_an_injected_source_is_marked(make_image, psf, rng):
    image, _ = inject_sources(make_image(), place([80.0], [60.0], 1e3), psf, rng=rng)
    marked = (image.mask & MASK_BITS["injected"]) > 0

    assert marked[60, 80]
    assert not marked[60, 95]
    assert 10 < marked.sum() < 200
    assert image.usable.all()  # such pixels are good


@pytest.mark.parametrize("kind", [("mag", 15.0, 20.0), ("snr", 5.0, 50.0)])
def test_same_seed_gives_the_same_sources(make_image, draw, kind):
    one, other, third = (
        draw(make_image(), brightness=kind, rng=np.random.default_rng(seed))
        for seed in ([1, 0], [1, 0], [2, 0])
    )

    for name in ("x", "y", "mag", "flux", "snr"):
        np.testing.assert_array_equal(one[name], other[name])
        assert not np.array_equal(one[name], third[name])


def test_sources_fill_a_non_square_image_and_their_range(make_image, draw):
    sources = draw(make_image(), n_sources=400, min_separation=0.0)

    # The largest of 400 uniform draws is within 1 % of the end but for exp(-4).
    assert sources["x"].max() > 0.98 * 160
    assert 0.98 * 120 < sources["y"].max() < 120
    assert sources["x"].min() < 0.02 * 160
    # A mean of 400 uniform draws over 5 mag is known to 5 / sqrt(12 * 400).
    assert np.mean(sources["mag"]) == pytest.approx(17.5, abs=5 * 0.072)
    assert (sources["mag"].min() >= 15) & (sources["mag"].max() <= 20)
    np.testing.assert_allclose(sources["flux"], 10 ** (-0.4 * (sources["mag"] - 25)))
    assert sources["source_id"][7] == "test_01_s0007"


def test_signal_to_noise_is_drawn_evenly_in_its_logarithm(make_image, draw):
    sources = draw(
        make_image(), n_sources=400, min_separation=0.0, brightness=("snr", 4.0, 64.0)
    )

    assert (sources["snr"].min() > 4 * 0.999) & (sources["snr"].max() < 64 * 1.001)
    # The logarithm of base 2 is uniform from 2 to 6: mean 4 to 4 / sqrt(12 * 400).
    assert np.mean(np.log2(sources["snr"])) == pytest.approx(4, abs=5 * 0.058)
    np.testing.assert_allclose(sources["mag"], 25 - 2.5 * np.log10(sources["flux"]))


def test_magnitudes_crowd_around_the_limit_where_asked(make_image, draw):
    sources = draw(
        make_image(), n_sources=400, min_separation=0.0, brightness=("limit", 10, 24)
    )
    # Flat sky: S/N 5 is at one magnitude, but for what stars of the field add. Near the
    # limit lie two thirds, and 3 of 14 mag of the third that is uniform: 0.738.
    faint = np.asarray(sources["mag"])[np.argsort(np.abs(np.log(sources["snr"] / 5)))][
        0
    ]
    near = np.abs(sources["mag"] - faint) < 1.5

    assert near.mean() == pytest.approx(0.738, abs=5 * np.sqrt(0.74 * 0.26 / 400))
    assert (sources["mag"].min() >= 10) & (sources["mag"].max() <= 24)


def test_sky_positions_are_those_of_the_wcs(make_image, draw):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [1.0, 1.0]
    wcs.wcs.crval, wcs.wcs.cdelt = [10.0, 0.0], [-1e-3, 2e-3]
    sources = draw(make_image(wcs=wcs))

    # Pixel (0, 0) is at (10, 0); a thousandth of a degree a pixel to the east.
    np.testing.assert_allclose(sources["ra"], 10 - 1e-3 * sources["x"], atol=1e-6)
    np.testing.assert_allclose(sources["dec"], 2e-3 * sources["y"], atol=1e-5)


def test_sources_avoid_masked_pixels(make_image, draw):
    image = make_image()
    image.mask[:, 40:] = MASK_BITS["bad"]

    assert draw(image)["x"].max() < 39.5


def test_sources_keep_apart(make_image, draw, psf):
    sources = draw(make_image(), n_sources=60, min_separation=3.0)
    distance = np.hypot(
        sources["x"] - np.asarray(sources["x"])[:, None],
        sources["y"] - np.asarray(sources["y"])[:, None],
    )

    assert len(sources) == 60
    assert distance[np.triu_indices(60, 1)].min() >= 3 * psf.fwhm


def test_full_field_takes_fewer_sources(make_image, draw):
    # Disks of 6 FWHM, some 19 pixels: no more than about 90 fit on 120 x 160.
    sources = draw(make_image(), n_sources=200, min_separation=6.0)

    assert 20 < len(sources) < 100


def test_image_without_a_usable_pixel_takes_none_and_still_stacks(make_image, draw):
    blind = make_image()
    blind.mask[:] = MASK_BITS["bad"]
    none = draw(blind, n_sources=3)
    both = vstack([draw(make_image(), n_sources=3), none])

    assert len(none) == 0
    assert len(both) == 3
    assert both["source_id"].dtype.kind == "U"


def test_wanted_share_is_on_galaxies_within_their_half_light_radius(make_image, draw):
    hosts = Table(
        {"x": [40.0, 130.0], "y": [30.0, 90.0], "half_light_radius": [15.0, 12.0]}
    )
    sources = draw(
        make_image(), n_sources=30, galaxies=(0.4, hosts), min_separation=0.5
    )
    on = sources[sources["near_galaxy"]]
    distance = np.hypot(
        on["x"] - np.asarray(hosts["x"])[:, None],
        on["y"] - np.asarray(hosts["y"])[:, None],
    )

    assert len(on) == 12
    assert np.all(
        (distance / np.asarray(hosts["half_light_radius"])[:, None]).min(0) < 1
    )


def test_without_galaxies_all_sources_are_on_plain_sky(make_image, draw):
    sources = draw(make_image(), galaxies=(0.5, NO_GALAXIES[1]))

    assert len(sources) == 50
    assert not sources["near_galaxy"].any()


def test_galaxies_are_the_wide_sources():
    sources = Table(
        {
            "half_light_radius": [2.0, 4.0, 4.0, 4.0, 30.0, np.nan],
            "elongation": [1.0, 1.5, 5.0, 1.5, 1.0, 1.0],
            "usable": [True, True, True, False, True, True],
            "name": ["star", "galaxy", "trail", "cut", "halo", "none"],
        }
    )

    assert list(find_galaxies(sources, 2.0)["name"]) == ["galaxy"]


@pytest.mark.parametrize("gain", [0.5, 4.0])
@pytest.mark.parametrize("snr", [3.0, 10.0, 200.0])
def test_flux_of_an_snr_has_that_snr(psf, rng, snr, gain):
    stamp = psf(80.2, 60.7)
    variance = rng.uniform(20, 200, stamp.shape)
    flux = snr_to_flux(snr, variance, stamp, gain)

    assert flux_to_snr(flux, variance, stamp, gain) == pytest.approx(snr)


@pytest.mark.parametrize("snr", [5.0, 40.0])
def test_snr_is_that_of_a_matched_filter_on_noise(make_image, psf, rng, snr):
    gain, sky = 1.5, 30.0
    stamp = psf(80.0, 60.0)
    variance = np.full(stamp.shape, sky / gain)
    flux = snr_to_flux(snr, variance, stamp, gain)
    electrons = rng.poisson(
        (sky + flux * np.clip(stamp, 0, None)) * gain, (3000, *stamp.shape)
    )
    data = electrons / gain - sky
    measured = (data * stamp).sum(axis=(1, 2)) / np.sum(stamp**2)

    # From 3000 draws the scatter is known to 1 / sqrt(6000) = 1.3 %.
    assert measured.mean() / measured.std() == pytest.approx(snr, rel=5 * 0.013)


@pytest.mark.parametrize(
    "brightness", [("mag", 20.0, 15.0), ("snr", 0.0, 5.0), ("flux", 1.0, 2.0)]
)
def test_impossible_brightness_is_refused(make_image, draw, brightness):
    with pytest.raises(BadParameterError, match=r"mag_range must be .*got"):
        draw(make_image(), brightness=brightness)


def test_impossible_share_of_galaxies_is_refused(make_image, draw):
    with pytest.raises(BadParameterError, match=r"between 0 and 1, got 1\.5"):
        draw(make_image(), galaxies=(1.5, NO_GALAXIES[1]))
