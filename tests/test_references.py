from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from star_fields import expose, measure, moffat

from gmadet_nb.errors import BadImageError, BadInputError
from gmadet_nb.files.images import MASK_BITS
from gmadet_nb.imaging.photometry import measure_noise
from gmadet_nb.sky.references import (
    Reference,
    load_reference_file,
    place_reference,
    rank_exposures,
    stack_references,
)

SHAPE = (140, 180)  # (ny, nx), not square
SKY = 200.0
NOISE = np.sqrt(SKY / 2 + (5 / 2) ** 2)  # of `star_fields.expose` [adu]


@pytest.fixture
def stars(rng):
    return Table(
        {
            "x": rng.uniform(-10, SHAPE[1] + 10, 40),
            "y": rng.uniform(-10, SHAPE[0] + 10, 40),
            "flux": np.exp(rng.uniform(np.log(5e3), np.log(1e5), 40)),
        }
    )


@pytest.fixture
def make_reference(stars, rng):
    """Return a factory of references that lie on the same pixels already."""
    psf = moffat(SHAPE, 3.0)
    truth = expose(psf, stars, sky=SKY)

    def make(*, scale=1.0, level=0.0, **fields):
        data = scale * expose(psf, stars, sky=SKY, rng=rng) + level
        values = {
            "data": data.astype(np.float32),
            "variance": (scale**2 * (truth / 2 + 6.25)).astype(np.float32),
            "mask": np.zeros(SHAPE, np.uint8),
            "fwhm": 3.2,
            "text": "a",
            "n_images": 1,
            "alignment_rms": 0.05,
            "alignment_method": "wcs",
            "correlation": 0.0,
        }
        return Reference(**(values | fields))

    return make


@pytest.fixture
def truth(stars):
    return expose(moffat(SHAPE, 3.0), stars, sky=SKY)


def make_exposures(**columns):
    table = Table(
        {
            "exposure_id": ["a", "b", "c", "d", "e"],
            "filter": ["r", "r", "r", "g", "r"],
            "used": [True, True, True, True, False],
            "noise": [10.0, 10.0, 20.0, 1.0, 1.0],
            "exptime": [60.0, 60.0, 60.0, 60.0, 60.0],
            "fwhm": [4.0, 3.0, 3.0, 2.0, 2.0],
            "bright_flux": np.full(5, np.nan),
        }
    )
    for name, value in columns.items():
        table[name] = value
    return table


def ranked_ids(exposures, without):
    return list(rank_exposures(exposures, without=without)["exposure_id"])


def test_rank_leaves_out_the_exposure_itself_other_filters_and_unused_ones():
    assert ranked_ids(make_exposures(), "a") == ["b", "c"]
    assert ranked_ids(make_exposures(), "b") == ["a", "c"]


def test_long_exposures_rank_by_their_noise_per_second():
    longer = make_exposures(exptime=[60.0, 60.0, 600.0, 60.0, 60.0])

    assert ranked_ids(longer, "a") == ["c", "b"]


def test_exposure_under_clouds_ranks_low():
    cloudy = make_exposures(bright_flux=[100.0, 20.0, 100.0, 100.0, 100.0])

    # Its noise is half, and its stars have a fifth of the light.
    assert ranked_ids(cloudy, "a") == ["c", "b"]


def test_unknown_exposure_times_still_rank():
    unknown = make_exposures(exptime=np.full(5, np.nan))

    assert sorted(ranked_ids(unknown, "a")) == ["b", "c"]


def test_only_exposure_in_its_filter_has_no_reference():
    with pytest.raises(BadImageError, match=r"'d' must be made.*filter 'g'.*to a file"):
        rank_exposures(make_exposures(), without="d")


def test_no_type_of_numpy_is_in_a_message():
    exposures = make_exposures()
    with pytest.raises(BadImageError, match=r"^A reference for 'd' must"):
        rank_exposures(exposures, without=exposures["exposure_id"][3])


@pytest.mark.parametrize("n", [2, 4, 8])
def test_variance_of_a_stack_falls_with_its_number(make_reference, stars, truth, n):
    stack = stack_references([make_reference() for _ in range(n)], stars)
    pulls = (stack.data - truth) / np.sqrt(stack.variance)

    assert stack.n_images == n
    assert np.median(stack.variance) == pytest.approx(NOISE**2 / n, rel=0.03)
    # 25000 pixels know a width to 0.5 %; scale and level of each add about 1 %.
    assert pulls.std() == pytest.approx(1, abs=0.05)


def test_stack_removes_cosmic_rays_and_keeps_stars(make_reference, stars, truth):
    references = [make_reference() for _ in range(5)]
    references[1].data[60:63, 70:75] += 3000
    references[3].data[100, 50] += 500
    stack = stack_references(references, stars)
    pulls = (stack.data - truth) / np.sqrt(stack.variance)

    # The clipped place is the mean of the four others.
    assert np.abs(pulls[60:63, 70:75]).max() < 5
    assert abs(pulls[100, 50]) < 5
    assert stack.variance[61, 72] == pytest.approx(
        references[0].variance[61, 72] / 4, rel=0.02
    )
    core = truth > SKY + 500
    assert np.mean((stack.data - SKY)[core] / (truth - SKY)[core]) == pytest.approx(
        1, abs=0.01
    )


def test_stack_is_on_the_flux_and_the_level_of_the_first(make_reference, stars, truth):
    references = [
        make_reference(),
        make_reference(scale=0.5, level=300.0),
        make_reference(scale=3.0, level=-100.0),
    ]
    stack = stack_references(references, stars)
    core = truth > SKY + 500

    # Some 30 stars of S/N above 50 give each scale to half a percent.
    assert np.sum((stack.data - SKY)[core]) / np.sum((truth - SKY)[core]) == (
        pytest.approx(1, abs=0.015)
    )
    assert np.median(stack.data - truth) == pytest.approx(0, abs=1)
    assert np.median(stack.variance) == pytest.approx(NOISE**2 / 3, rel=0.05)


def test_masked_pixel_is_taken_from_the_others(make_reference, stars, truth):
    references = [make_reference() for _ in range(3)]
    references[0].data[60, 70] = 1e6
    references[0].mask[60, 70] = MASK_BITS["bad"]
    for reference in references:
        reference.mask[80, 90] = MASK_BITS["bad"]
    stack = stack_references(references, stars)

    assert stack.mask[60, 70] == 0
    assert abs(stack.data[60, 70] - truth[60, 70]) < 5 * np.sqrt(stack.variance[60, 70])
    assert stack.mask[80, 90] & MASK_BITS["bad"]
    assert np.count_nonzero(stack.mask) == 1


def test_pixel_that_is_saturated_in_one_stays_so(make_reference, stars):
    references = [make_reference() for _ in range(3)]
    references[1].mask[60, 70] = MASK_BITS["saturated"]

    assert stack_references(references, stars).mask[60, 70] == MASK_BITS["saturated"]


def test_pixel_that_is_bad_in_each_image_for_another_reason_is_bad(
    make_reference, stars
):
    references = [make_reference() for _ in range(2)]
    references[0].mask[80, 90] = MASK_BITS["bad"]
    references[1].mask[80, 90] = MASK_BITS["edge"]

    assert stack_references(references, stars).mask[80, 90] != 0


def test_stack_says_what_it_is_made_of(make_reference, stars):
    stack = stack_references(
        [make_reference(text="a"), make_reference(text="b", alignment_rms=0.2)], stars
    )

    assert stack.text == "stack of 2, best a"
    assert stack.alignment_rms == 0.2


def test_images_without_common_stars_do_not_stack(make_reference, stars):
    empty = make_reference()
    empty = replace(empty, data=np.full(SHAPE, 200, np.float32), text="clouds")
    with pytest.raises(BadImageError, match="'clouds' shows none"):
        stack_references([make_reference(), empty], stars)


def look(make_image, shape, psf, stars, rng):
    data = expose(psf, stars, sky=SKY, rng=rng)
    image = make_image(data=data, mask=np.zeros(shape, np.uint8))
    sources = measure(image, NOISE)[1]
    return image, sources


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.8])
def test_placed_reference_has_the_noise_that_it_states(make_image, rng, scale):
    # ``scale`` reference pixels to a pixel of the exposure.
    x, y = rng.uniform(8, SHAPE[1] - 8, 50), rng.uniform(8, SHAPE[0] - 8, 50)
    flux = np.exp(rng.uniform(np.log(2e4), np.log(2e5), 50))
    shape = (round(SHAPE[0] * scale), round(SHAPE[1] * scale))
    science, sources = look(
        make_image, SHAPE, moffat(SHAPE, 4.5), {"x": x, "y": y, "flux": flux}, rng
    )
    places = {"x": scale * x, "y": scale * y, "flux": flux}
    image, there = look(make_image, shape, moffat(shape, 4.5 * scale), places, rng)
    placed = place_reference(
        image,
        measure_noise(image),
        there,
        4.5 * scale,
        science=science,
        science_sources=sources,
    )
    clean = expose(moffat(shape, 4.5 * scale), places, sky=SKY)
    true = replace(image, data=clean)
    expected = place_reference(
        true,
        measure_noise(image),
        there,
        4.5 * scale,
        science=science,
        science_sources=sources,
    )
    # Interpolation ties neighbours together, so sums over 5 x 5 pixels are compared,
    # as a PSF sums them.
    noise = (placed.data - expected.data)[10:-10, 10:-10]
    ny, nx = (n // 5 * 5 for n in noise.shape)
    boxes = noise[:ny, :nx].reshape(ny // 5, 5, nx // 5, 5).sum(axis=(1, 3))
    variance = 25 * np.median(placed.variance)

    assert placed.fwhm == pytest.approx(4.5, rel=0.01)
    # 700 boxes know the width to 3 %; the stars' own photons are left out, and boxes
    # share pixels at their rims.
    assert 1.4826 * np.median(np.abs(boxes)) == pytest.approx(variance**0.5, rel=0.25)


def write_reference(path, stars, rng, **cards):
    data = expose(moffat(SHAPE, 3.0), stars, sky=SKY, rng=rng)
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    hdu.writeto(path)


def test_reference_file_is_read_and_measured(tmp_path, stars, rng):
    write_reference(tmp_path / "ref.fits", stars, rng, GAIN=2.0, RDNOISE=5.0)
    image, noise, sources, fwhm = load_reference_file(tmp_path / "ref.fits", "generic")

    assert image.gain == 2.0
    assert noise.model == "photons"
    assert noise.sky_variance**0.5 == pytest.approx(NOISE, rel=0.03)
    assert sources["is_star"].sum() > 10
    # The Moffat's 3.0 and the pixel: 3.15, to 3 %.
    assert fwhm == pytest.approx(3.15, rel=0.03)


def test_saturated_pixels_of_a_reference_are_masked(tmp_path, stars, rng):
    cards = {"GAIN": 2.0, "SATURATE": 2000.0}
    write_reference(tmp_path / "ref.fits", stars, rng, **cards)
    image, _, _, _ = load_reference_file(tmp_path / "ref.fits", "generic")

    assert np.all((image.mask > 0)[image.data >= 2000])
    assert (image.mask > 0).any()


def test_reference_file_without_a_gain_is_refused_in_a_sentence(tmp_path, stars, rng):
    write_reference(tmp_path / "ref.fits", stars, rng)
    with pytest.raises(
        BadInputError, match=r"ref\.fits must be known.*parameter 'reference_gain'\."
    ):
        load_reference_file(tmp_path / "ref.fits", "generic")
    image, noise, _, _ = load_reference_file(tmp_path / "ref.fits", "generic", gain=2.0)

    assert image.gain == 2.0
    assert noise.sky_variance**0.5 == pytest.approx(NOISE, rel=0.03)


@pytest.mark.parametrize("name", ["stak", "absent.fits", "."])
def test_reference_that_is_no_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match=r"'stack', 'best' or the path.*no file"):
        load_reference_file(name, "generic")


def test_reference_without_stars_is_refused(tmp_path, stars, rng):
    write_reference(tmp_path / "ref.fits", stars[:0], rng, GAIN=2.0)
    with pytest.raises(BadImageError, match="at least 3 stars"):
        load_reference_file(tmp_path / "ref.fits", "generic")
