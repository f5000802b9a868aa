import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from psfex_files import sampled, write_psfex
from star_fields import expose, moffat, scatter_stars

from gmadet_nb.campaign.steps import examine
from gmadet_nb.files.images import MASK_BITS, open_exposure
from gmadet_nb.files.rundir import RunDir

SETTINGS = {
    "gain": "auto",
    "read_noise": "auto",
    "saturation": 60000.0,
    "zero_point": 25.0,
    "psf_degree": 1,
    "psf_source": "image",
    "extension": "auto",
    "clean_cosmic_rays": False,
    "subtract_background": False,
    "background_box": 64,
    "max_elongation": 1.6,
    "min_stars": 5,
}
CARDS = {"GAIN": 2.0, "RDNOISE": 5.0, "FILTER": "r", "EXPTIME": 60.0}


def field(shape, *, cell=32):
    rng = np.random.default_rng(8)
    stars = scatter_stars(shape, rng, cell=cell, border=8)
    return expose(moffat(shape, 3.0), stars, rng=rng)


@pytest.fixture
def examine_file(tmp_path):
    """Return a function that writes an image and examines it."""

    def examine_one(
        data, *, cards=CARDS, name="a.fits", hdu=fits.PrimaryHDU, **changes
    ):
        image = hdu(data)
        image.header.update(cards)
        if hdu is fits.PrimaryHDU:
            image.writeto(tmp_path / name)
        else:
            fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / name)
        exposure = examine.list_exposures(tmp_path)[0]
        row = examine.examine_exposure(
            exposure,
            run_dir=str(tmp_path / "run"),
            telescope="generic",
            settings=SETTINGS | changes,
        )
        examine.exposures_table([row])  # it must fit into the table
        return row

    return examine_one


def empty_sky(shape):
    return np.random.default_rng(1).normal(200, 10, shape).astype(np.float32)


def mostly_masked():
    data = field((200, 240))
    data[:185] = np.nan
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (empty_sky((120, 160)), "must show at least 5 stars"),
        (
            np.full((120, 160), 65000, np.float32),
            "at least 10% usable pixels, got 0.0%",
        ),
        (np.full((120, 160), 300, np.float32), "must hold more than one value"),
        (np.full((120, 160), np.nan, np.float32), "at least 10% usable pixels"),
        (mostly_masked(), "at least 10% usable pixels, got 7.5%"),
        (np.zeros(100, np.float32), "no extension of it has two axes"),
        (np.zeros((3, 20, 20), np.float32), "must hold a two-dimensional image"),
    ],
    ids=["stars", "saturated", "constant", "nan", "masked", "line", "cube"],
)
def test_image_that_cannot_serve_is_set_aside_in_a_sentence(examine_file, data, reason):
    row = examine_file(data)
    assert not row["used"]
    assert reason in row["reason"]
    assert row["reason"].endswith(".")
    assert "\n" not in row["reason"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gain": -1.0}, "gain must be > 0 electron/adu, got -1.0"),
        ({"extension": "7"}, "in the extension '7' that 'extension' names"),
    ],
)
def test_parameter_that_fits_no_image_is_named(examine_file, changes, reason):
    row = examine_file(field((160, 200)), **changes)
    assert not row["used"]
    assert reason in row["reason"]


def test_negative_gain_of_a_header_counts_as_none(examine_file):
    row = examine_file(field((160, 200)), cards=CARDS | {"GAIN": -2.0})
    assert "Set the parameter 'gain'" in row["reason"]


@pytest.mark.parametrize("shape", [(64, 400), (400, 64), (150, 330)])
def test_strip_and_image_that_is_not_square_serve(examine_file, shape):
    row = examine_file(field(shape))
    assert row["used"], row["reason"]
    assert (row["ny"], row["nx"]) == shape
    # The pixel adds to the Moffat's 3.0; a few stars give it to some percent.
    assert row["fwhm"] == pytest.approx(3.1, abs=0.15)


def test_unsigned_integers_serve_as_the_counts_they_are(examine_file):
    counts = np.rint(field((200, 240))).astype(np.uint16)
    counts[100, 100] = 65535
    row = examine_file(counts)
    assert row["used"], row["reason"]
    assert row["background"] == pytest.approx(200, abs=2)


def test_compressed_image_serves(examine_file):
    counts = np.rint(field((200, 240))).astype(np.int16)
    row = examine_file(counts, name="a.fits.fz", hdu=fits.CompImageHDU)
    assert row["used"], row["reason"]
    assert row["fwhm"] == pytest.approx(3.1, abs=0.15)


def test_image_of_a_named_extension_serves(examine_file):
    row = examine_file(field((200, 240)), hdu=fits.ImageHDU, extension="1")
    assert row["used"], row["reason"]


def test_half_of_an_image_serves_where_the_rest_is_masked(examine_file):
    data = field((240, 240))
    data[:120] = np.nan
    row = examine_file(data)
    assert row["used"], row["reason"]


def test_bad_image_does_not_cost_the_good_one(examine_file, tmp_path):
    bad = examine_file(np.full((120, 160), np.nan, np.float32), name="b.fits")
    good = examine_file(field((200, 240)), name="a.fits")
    table = examine.exposures_table([bad, good])
    run = RunDir(tmp_path / "run")
    run.write_table("exposures", table)
    back = run.read_table("exposures")
    assert back["used"].tolist() == [False, True]
    assert isinstance(back, Table)


def test_prepared_exposure_is_a_copy_that_the_later_steps_read(examine_file, tmp_path):
    data = field((200, 240))
    data[60, 70] += 5000
    row = examine_file(data, clean_cosmic_rays=True, subtract_background=True)
    assert row["used"], row["reason"]
    assert row["n_cosmic_ray_pixels"] >= 1
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits"), data)
    image = open_exposure(examine.exposures_table([row])[0])
    assert image.mask[60, 70] == MASK_BITS["cosmic_ray"]
    # Wings of stars on a third of the pixels lift the median by a part of the noise.
    assert np.median(image.data) == pytest.approx(0, abs=0.3 * row["noise"])
    assert row["background"] == pytest.approx(0, abs=1.0)


def test_psf_that_psfex_made_is_taken_where_it_is_there(examine_file, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    write_psfex(folder / "a.psf", [sampled(3.2, 0.7)], step=0.7, degree=0, axes=())
    row = examine_file(field((200, 240)), psf_source=str(folder))

    assert row["used"], row["reason"]
    assert row["psf_kind"] == "PSFEx, degree 0"
    # A Moffat of 3.2 with the pixel's own width in it.
    assert row["fwhm"] == pytest.approx(3.307, rel=0.005)


def test_exposure_without_its_psfex_model_is_set_aside(examine_file, tmp_path):
    row = examine_file(field((200, 240)), psf_source=str(tmp_path / "models"))

    assert not row["used"]
    assert "or a folder that holds a.psf" in row["reason"]
