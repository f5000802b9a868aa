from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from gmadet_nb.campaign.demo import detector, frames, make_demo, optics, plan, sources
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.headers import header_values
from gmadet_nb.files.telescopes import load_telescope
from gmadet_nb.sky.catalogs import read_known

SHAPE = (192, 272)  # (ny, nx), not square


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "nights"
    make_demo(folder, seed=3, shape=SHAPE, n_exposures=(2, 1))
    return folder


@pytest.fixture
def psf():
    return optics.MoffatField(
        fwhm=3.0, beta=3.0, shape=SHAPE, bowl=0.06, e1=0.03, e2=-0.05, astigmatism=0.04
    )


@pytest.fixture
def empty_sky():
    exposure = plan.plan_night(1, 1, shape=SHAPE, seed=5)[0]
    return replace(exposure, gradient=(0.0, 0.0), oddities=(), satellite=None)


def image_paths(folder):
    return sorted(folder.glob("night*/images/*.fits"))


def read_wcs(path):
    header = fits.getheader(path)
    # wcslib would note that it derives MJD-OBS from DATE-OBS.
    del header["DATE-OBS"]
    return WCS(header)


def centroid(stamp, x, y):
    radius = stamp.shape[0] // 2
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    total = stamp.sum()
    return (
        round(x) + (columns * stamp).sum() / total,
        round(y) + (rows * stamp).sum() / total,
    )


def no_faults():
    return detector.draw_detector(shape=SHAPE, seed=0)[:0]


def no_sky():
    stars = sources.draw_stars(shape=SHAPE, seed=0)[:0]
    return stars, sources.draw_galaxies(shape=SHAPE, seed=0)[:0]


@pytest.mark.parametrize(("x", "y"), [(120.0, 90.0), (60.37, 140.81), (200.5, 60.49)])
def test_isolated_star_has_its_flux(psf, x, y):
    expected = np.zeros(SHAPE)
    optics.add_stars(expected, x, y, 1e5, psf)

    # Outside the radius R of its stamp, at least 5 alpha, lies (1 + R^2 / alpha^2)^-2
    # = 0.0015 of a Moffat profile of beta 3; the pixels' integral adds less than 1e-3.
    assert expected.sum() == pytest.approx(1e5, rel=0.0025)


def test_stars_of_any_width_hold_their_flux(psf):
    # Three Gauss-Legendre points a pixel; the stamp of radius 60 lacks
    # (1 + 60^2 / alpha^2)^-2 < 1e-5 of the flux.
    for fwhm in (1.5, 2.0, 2.6, 5.0):
        stamps = optics.draw_stamps(
            replace(psf, fwhm=fwhm), [100.0, 100.5], [90.0, 90.3], radius=60
        )
        assert stamps.sum(axis=(1, 2)) == pytest.approx(1, abs=2e-3)


def test_stamp_is_centered_on_the_true_position(psf):
    x, y = 100.37, 90.81
    stamp = optics.draw_stamps(psf, x, y, radius=30)[0]

    # The stamp is cut off-center by up to half a pixel, which moves the first
    # moment by the flux in the outermost ring: less than 0.02 pixel.
    assert centroid(stamp, x, y) == pytest.approx((x, y), abs=0.02)


def test_trail_lengthens_a_star_and_keeps_its_flux(psf):
    psf = replace(psf, e1=0.0, e2=0.0, astigmatism=0.0, bowl=0.0)
    trailed = replace(psf, trail_x=9.0, trail_y=0.0)
    still = optics.draw_stamps(psf, 100.0, 90.0, radius=40)[0]
    moved = optics.draw_stamps(trailed, 100.0, 90.0, radius=40)[0]
    columns = np.arange(-40, 41)

    def variance(stamp):
        return (stamp.sum(axis=0) * columns**2).sum()

    assert moved.sum() == pytest.approx(still.sum(), abs=1e-4)
    # A line of length L has the variance L^2 / 12; laid on pixels by linear
    # interpolation it gains at most 1/4, and the stamp's edge takes a little.
    assert variance(moved) - variance(still) == pytest.approx(81 / 12, abs=0.35)


@pytest.mark.parametrize("sersic_index", [1, 4])
def test_galaxy_has_its_flux_half_of_it_within_its_half_light_ellipse(
    psf, sersic_index
):
    galaxies = Table(
        {
            "x": [130.3],
            "y": [95.6],
            "flux": [1e5],
            "radius": [12.0],
            "axis_ratio": [0.6],
            "angle": [30.0],
            "sersic_index": [sersic_index],
        }
    )
    expected = np.zeros(SHAPE)
    # A sharp PSF, so that only the galaxy's own profile is left.
    optics.add_galaxies(expected, galaxies, replace(psf, fwhm=1.0))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    dx, dy = x - 130.3, y - 95.6
    cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))
    along, across = dx * cos + dy * sin, (dy * cos - dx * sin) / 0.6

    # The widest Gaussian, 2.5 radii, is cut at 6 radii: it loses 6 % of its share.
    assert expected.sum() == pytest.approx(1e5, rel=0.03)
    within = expected[np.hypot(along, across) < 12].sum() / expected.sum()
    # A spheroid has 18 % of its light beyond the 5 radii that the sum of Gaussians
    # follows, so that its half-light radius is somewhat smaller.
    assert within == pytest.approx(0.5 if sersic_index == 1 else 0.58, abs=0.04)


@pytest.mark.parametrize("n_combined", [1, 16])
def test_noise_of_the_empty_sky_is_that_of_photons_and_read_out(empty_sky, n_combined):
    exposure = replace(empty_sky, n_combined=n_combined)
    stars, galaxies = no_sky()
    expected = frames.expected_counts(
        exposure, stars=stars, galaxies=galaxies, faults=no_faults()
    )
    data = detector.take_photons(
        exposure,
        expected,
        n_cosmic_rays=0,
        faults=no_faults(),
        rng=np.random.default_rng(7),
    )

    gain = 1.6 * n_combined
    variance = exposure.sky / gain + (8.0 / 1.6) ** 2 / n_combined
    n = data.size
    assert data.mean() == pytest.approx(exposure.sky, abs=5 * np.sqrt(variance / n))
    # The variance of n normal numbers is known to sqrt(2 / n) = 0.6 %.
    assert data.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n))


def test_charge_bleeds_along_the_column_and_is_conserved():
    charge = np.full((60, 40), 10.0)
    charge[30, 20] = 1005.0
    flowed = detector.bleed(charge, full_well=100.0)

    assert flowed.sum() == pytest.approx(charge.sum())
    assert flowed.max() == 100.0
    # 905 above the full well fill 10 pixels of 90 free ones, half on each side.
    assert np.all(flowed[26:35, 20] == 100.0)
    assert np.all(np.delete(flowed, 20, axis=1) == 10.0)


def test_bright_stars_of_the_demo_are_saturated_and_bleed(nights):
    data = fits.getdata(image_paths(nights)[0])
    saturated = np.nan_to_num(data) >= plan.SATURATION
    rows, columns = np.nonzero(saturated)

    assert saturated.any()
    # A saturated core is round; charge that bled makes it higher than wide.
    assert np.bincount(columns).max() > np.bincount(rows).max()


def test_truth_is_where_the_pixels_are_on_a_frame_that_is_not_square(empty_sky):
    x, y = np.array([40.3, 150.6, 240.2]), np.array([150.7, 30.2, 100.4])
    ra, dec = empty_sky.wcs.all_pix2world(x, y, 0)
    stars = Table({"ra": ra, "dec": dec, "mag": np.full(3, 13.0)})
    expected = np.zeros(SHAPE)
    optics.add_stars(
        expected, *empty_sky.to_pixels(stars), empty_sky.to_flux(13.0), empty_sky.psf
    )
    header = frames.make_header(empty_sky)
    del header["DATE-OBS"]
    seen_x, seen_y = WCS(header).all_world2pix(ra, dec, 0)
    for i in range(3):
        on_image, _ = optics.overlap(SHAPE, 12, seen_x[i], seen_y[i])
        found = centroid(expected[on_image], float(seen_x[i]), float(seen_y[i]))
        assert found == pytest.approx((seen_x[i], seen_y[i]), abs=0.1)


def test_hidden_transients_are_in_the_frames_where_the_truth_says(nights):
    # On a frame with the sky, stars and galaxies that the same seed gives taken
    # off, a transient's flux is within its 5 sigma: 5 / S/N of itself.
    stars = sources.draw_stars(shape=SHAPE, seed=3)
    galaxies = sources.draw_galaxies(shape=SHAPE, seed=3)
    faults = detector.draw_detector(shape=SHAPE, seed=3)
    exposure = plan.plan_night(2, 1, shape=SHAPE, seed=3)[0]
    data = fits.getdata(nights / "night2/images/night2_01.fits").astype(float)
    expected = frames.expected_counts(
        exposure, stars=stars, galaxies=galaxies, faults=faults
    )
    truth = Table.read(nights / "night2/truth_transients.ecsv")
    n_seen = 0
    for row in truth:
        stamp = optics.draw_stamps(exposure.psf, row["x"], row["y"], radius=6)[0]
        on_image, on_stamp = optics.overlap(SHAPE, 6, row["x"], row["y"])
        weight = stamp[on_stamp] / exposure.variance(expected[on_image])
        residual = data[on_image] - expected[on_image]
        flux = (weight * residual).sum() / (weight * stamp[on_stamp]).sum()
        n_seen += abs(flux / row["flux"] - 1) < 5 * 1.3 / row["snr"]

    # Cosmic rays, the satellite and the moving objects may spoil a few.
    assert n_seen >= len(truth) - 3


def test_truth_has_a_row_for_each_transient_in_each_exposure(nights):
    truth = Table.read(nights / "night1/truth_transients.ecsv")

    assert truth.colnames == [
        *("transient_id", "exposure_id", "ra", "dec", "x", "y", "mag", "flux", "snr"),
        "on_galaxy",
    ]
    assert set(truth["exposure_id"]) == {"night1_01", "night1_02"}
    assert len(truth) == 2 * len(set(truth["transient_id"])) == 2 * 12
    assert truth["on_galaxy"].sum() == 12
    assert np.all((truth["snr"] >= 8) & (truth["snr"] <= 90))
    assert np.all((truth["x"] > 0) & (truth["x"] < SHAPE[1] - 1))
    assert np.all((truth["y"] > 0) & (truth["y"] < SHAPE[0] - 1))
    for path in image_paths(nights)[:2]:
        rows = truth[truth["exposure_id"] == path.stem]
        x, y = read_wcs(path).all_world2pix(rows["ra"], rows["dec"], 0)
        assert rows["x"] == pytest.approx(x, abs=1e-3)
        assert rows["y"] == pytest.approx(y, abs=1e-3)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(nights, tmp_path):
    make_demo(tmp_path / "again", seed=3, shape=SHAPE, n_exposures=(2, 1))
    make_demo(tmp_path / "other", seed=4, shape=SHAPE, n_exposures=(2, 1))

    def contents(folder):
        return {
            path.relative_to(folder): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    first, again = contents(nights), contents(tmp_path / "again")
    other = contents(tmp_path / "other")
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[path] != other[path] for path in first if path.suffix == ".fits")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "other"]


def test_a_second_call_does_nothing_and_other_arguments_replace_the_nights(tmp_path):
    def make(seed):
        return make_demo(tmp_path / "n", seed=seed, shape=SHAPE, n_exposures=(1, 1))

    first = make(1)
    path = image_paths(tmp_path / "n")[0]
    before = path.stat().st_mtime_ns, path.stat().st_ino
    second = make(1)

    assert first.made
    assert second == replace(first, made=False)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert make(2).made
    assert path.stat().st_ino != before[1]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("five years of work")
    with pytest.raises(BadInputError, match="holds other files"):
        make_demo(tmp_path, shape=SHAPE, n_exposures=(1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("shape", "n_exposures", "message"),
    [((100, 300), (1, 1), "at least 160 pixels"), (SHAPE, (2, 0), "at least one")],
)
def test_a_demo_that_cannot_be_is_refused(tmp_path, shape, n_exposures, message):
    with pytest.raises(BadInputError, match=message):
        make_demo(tmp_path / "n", shape=shape, n_exposures=n_exposures)


def test_hot_pixels_stay_on_the_detector_in_all_exposures(nights):
    faults = Table.read(nights / "truth_detector.ecsv")
    hot = faults[(faults["kind"] == "hot_pixel") & (faults["value"] > 1000)]
    assert len(hot) >= 3
    columns = faults["x"][faults["kind"] != "hot_pixel"]
    hot = hot[~np.isin(hot["x"], columns)]
    for path in image_paths(nights):
        data = fits.getdata(path).astype(float)
        for x, y, value in zip(hot["x"], hot["y"], hot["value"], strict=True):
            block = data[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            # Above its darkest neighbor; the noise, sqrt(value / 1.6 + 30^2), is
            # below 4 % of 1000 adu. The NaN block may hide one.
            assert np.isnan(data[y, x]) or data[y, x] - np.nanmin(block) > 0.7 * value


def test_the_oddities_are_there(nights):
    first, second = (path for path in image_paths(nights) if "night1" in path.stem)
    assert "EGAIN" in fits.getheader(second)
    assert "GAIN" not in fits.getheader(second)
    assert fits.getheader(first)["GAIN"] == 1.6
    nan = np.isnan(fits.getdata(first))
    rows, columns = np.nonzero(nan)
    assert nan.sum() == np.ptp(rows[[0, -1]] + [0, 1]) * np.ptp(
        columns[[0, -1]] + [0, 1]
    )
    assert fits.getdata(second).dtype.name == "uint16"
    faults = Table.read(nights / "truth_detector.ecsv")
    dead = faults["x"][faults["kind"] == "dead_column"][0]
    data = fits.getdata(second).astype(float)
    # Read-out noise about 0, clipped at 0, against a sky of more than 300 adu.
    assert np.median(data[:, dead]) < 20 < 300 < np.median(data)


def test_a_full_first_night_has_one_trailed_exposure_and_moving_pointings():
    exposures = plan.plan_night(1, 6, shape=(1024, 1024), seed=1)
    odd = [exposure.oddities for exposure in exposures]
    assert odd == [(), ("egain",), ("nan_block",), (), ("trailed",), ()]
    assert [exposure.satellite is not None for exposure in exposures].count(True) == 1
    x, y = np.array(
        [e.wcs.all_world2pix(*plan.CENTER, 0) for e in exposures], dtype=float
    ).T
    distance = np.hypot(x - x[:, None], y - y[:, None])
    assert distance[np.triu_indices(6, 1)].min() > 5
    assert distance.max() < 45
    usable = [e.psf.fwhm for e in exposures if "trailed" not in e.oddities]
    assert min(usable) > 2.6
    assert 3.3 < max(usable) < 3.6


def test_catalogues_know_variables_and_minor_planets_and_not_the_transients(nights):
    known = read_known([nights / "night1/known_objects.ecsv"])
    assert known.meta == {"n_no_place": 0, "n_no_time": 0}
    variables = known[known["kind"] == "variable"]
    truth = Table.read(nights / "night1/truth_variables.ecsv")
    assert set(variables["name"]) == set(truth["star_id"])
    assert np.isnan(variables["mjd"]).all()
    moving = known[known["kind"] == "minor planet"]
    truth = Table.read(nights / "night1/truth_movers.ecsv")
    assert list(moving["ra"]) == list(truth["ra"])
    assert len(set(moving["mjd"])) == len(set(truth["exposure_id"]))
    assert len(known) == len(variables) + len(moving)


def test_variables_and_movers_change(nights):
    variables = Table.read(nights / "night1/truth_variables.ecsv")
    by_star = variables.group_by("star_id")
    assert all(np.ptp(group["mag"]) > 0 for group in by_star.groups)
    movers = Table.read(nights / "night1/truth_movers.ecsv")
    for group in movers.group_by("mover_id").groups:
        # 30 to 60 arcsec an hour for 300 s: 2.5 to 5 arcsec.
        step = 3600 * np.hypot(
            np.diff(group["ra"])[0] * np.cos(np.radians(group["dec"][0])),
            np.diff(group["dec"])[0],
        )
        assert 2.4 < step < 5.1


def test_the_telescope_file_reads_the_headers(nights):
    telescope = load_telescope("demo")
    gains = []
    for path in image_paths(nights):
        values = header_values(fits.getheader(path), telescope)
        gains.append(values["gain"])
        assert values["read_noise"] == 8.0
        assert values["saturation"] == plan.SATURATION
        assert values["exptime"] == 60.0
        assert values["filter"] == "R"
        assert values["mjd"] == pytest.approx(plan.START[0], abs=3)
    assert gains == [1.6, 1.6, 1.6]
