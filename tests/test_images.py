import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from gmadet_nb.errors import BadImageError, BadInputError
from gmadet_nb.files.fits_files import (
    exposure_ids,
    find_images,
    read_header,
    read_pixels,
)
from gmadet_nb.files.headers import header_values
from gmadet_nb.files.images import (
    MASK_BITS,
    header_wcs,
    make_mask,
    open_exposure,
    write_image,
)
from gmadet_nb.files.telescopes import load_telescope

REPOSITORY = Path(__file__).resolve().parents[1]
REALDATA = Path(os.environ.get("REALDATA") or REPOSITORY.parent / "shared/realdata")
SHAPE = (30, 50)  # (ny, nx), not square


@pytest.fixture
def counts(rng):
    return rng.integers(0, 65536, SHAPE).astype(np.uint16)


def make_row(path, **values):
    row = {
        "exposure_id": "a",
        "path": str(path),
        "extension": "auto",
        "prepared": "",
        "filter": "r",
        "gain": 2.0,
        "read_noise": 5.0,
        "saturation": 60000.0,
        "zero_point": 25.0,
    }
    return Table(rows=[row | values])[0]


def sip_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crpix, wcs.wcs.crval = [25.5, 15.5], [150.0, 20.0]
    wcs.wcs.cd = np.array([[-0.8, 0.6], [0.6, 0.8]]) * 2 / 3600
    header = wcs.to_header(relax=True)
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-4, "B_1_1": -3e-4})
    return WCS(header)


def write_extension(path, primary_cards, extension_cards, data):
    primary, extension = fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI")
    primary.header.update(primary_cards)
    extension.header.update(extension_cards)
    fits.HDUList([primary, extension]).writeto(path)


def test_images_are_found_in_order_whatever_their_ending(tmp_path):
    names = ["b.fits", "a.FITS", "c.fit", "d.fts", "e.fits.fz", "f.fit.gz", "n2/a.FIT"]
    others = ["a.txt", "b.fits.txt", ".c.fits", ".old/d.fits", "fits", "x.jpg"]
    for name in (*names, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]

    assert found == sorted(names)


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="must hold FITS files"):
        find_images(tmp_path)
    with pytest.raises(BadInputError, match="must be a folder"):
        find_images(tmp_path / "absent")


def test_one_stem_in_two_folders_gives_two_names():
    paths = [Path("n1/a.fits"), Path("n2/a.fits"), Path("n1/b.fits")]

    assert exposure_ids(paths) == ["n1_a", "n2_a", "b"]


def test_names_hold_nothing_that_a_file_name_may_not():
    assert exposure_ids([Path("M 31 (r) #1.fits.fz"), Path("..x.fit")]) == [
        "M_31__r___1",
        "x",
    ]


def test_two_images_that_stay_alike_are_refused():
    with pytest.raises(BadInputError, match=r"'n_a' names more than one.*Rename"):
        exposure_ids([Path("n/a.fits"), Path("n/a.fit")])


def test_unsigned_integers_are_read_as_they_are(tmp_path, counts):
    fits.writeto(tmp_path / "a.fits", counts)
    assert fits.getheader(tmp_path / "a.fits")["BZERO"] == 32768

    data, _ = read_pixels(tmp_path / "a.fits")

    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, counts)


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2"])
def test_compressed_image_is_read_with_its_header(tmp_path, counts, kind):
    hdu = fits.CompImageHDU(counts, compression_type=kind)
    hdu.header["GAIN"] = 1.7
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")

    data, header = read_pixels(tmp_path / "a.fits.fz")

    np.testing.assert_array_equal(data, counts)
    assert header["GAIN"] == 1.7
    assert (header["NAXIS1"], header["NAXIS2"]) == (50, 30)


def test_gzipped_image_is_read(tmp_path, counts):
    fits.writeto(tmp_path / "a.fits.gz", counts)

    np.testing.assert_array_equal(read_pixels(tmp_path / "a.fits.gz")[0], counts)


def test_primary_header_is_heard_where_the_extension_is_silent(tmp_path, counts):
    primary = {"GAIN": 1.7, "DATE-OBS": "2024-03-01T01:02:03", "FILTER": "open"}
    write_extension(tmp_path / "a.fits", primary, {"FILTER": "r"}, counts)

    data, header = read_pixels(tmp_path / "a.fits")
    values = header_values(header, load_telescope("generic"))

    np.testing.assert_array_equal(data, counts)
    assert values["gain"] == 1.7
    assert values["mjd"] == pytest.approx(60370.0430903, abs=1e-6)
    assert values["filter"] == "r"  # the extension's own word wins
    assert header["NAXIS"] == 2
    assert read_header(tmp_path / "a.fits") == header


def test_wcs_is_not_mixed_from_two_headers(tmp_path, counts):
    nominal = {"CTYPE1": "RA---TAN", "CRVAL1": 10.0, "CDELT1": 1.0, "CROTA2": 30.0}
    write_extension(
        tmp_path / "a.fits", nominal, dict(sip_wcs().to_header(relax=True)), counts
    )
    wcs = header_wcs(read_header(tmp_path / "a.fits"))

    np.testing.assert_allclose(
        wcs.all_pix2world(3, 4, 0), sip_wcs().all_pix2world(3, 4, 0), rtol=0, atol=1e-9
    )


def test_wcs_of_the_primary_header_serves_an_extension_without(tmp_path, counts):
    path = tmp_path / "a.fits"
    write_extension(path, dict(sip_wcs().to_header(relax=True)), {}, counts)

    assert header_wcs(read_header(path)).wcs.crval == pytest.approx([150, 20])


@pytest.fixture
def mosaic(tmp_path, counts):
    """Return a file with three images, the second one named SCI, the third ERR."""
    hdus = [fits.PrimaryHDU(counts), fits.ImageHDU(counts // 2, name="SCI")]
    hdus.append(fits.ImageHDU(counts // 3, name="ERR"))
    fits.HDUList(hdus).writeto(tmp_path / "mosaic.fits")
    return tmp_path / "mosaic.fits"


@pytest.mark.parametrize(
    ("extension", "divisor"), [("auto", 1), ("0", 1), ("1", 2), ("sci", 2), ("2", 3)]
)
def test_extension_chooses_the_image(mosaic, counts, extension, divisor):
    data, _ = read_pixels(mosaic, extension)
    np.testing.assert_array_equal(data, counts // divisor)


def test_image_is_found_behind_a_preview_and_before_its_noise(tmp_path, counts):
    preview, table = counts[::4, ::4], fits.BinTableHDU(Table({"a": [1, 2]}))
    cube = fits.ImageHDU(np.stack([counts] * 3), name="CUBE")
    hdus = [fits.PrimaryHDU(preview), table, cube]
    hdus += [fits.ImageHDU(counts // n, name=f"N{n}") for n in (1, 2)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    data, header = read_pixels(tmp_path / "a.fits")

    np.testing.assert_array_equal(data, counts)
    assert header["EXTNAME"] == "N1"


def test_extension_that_is_not_there_is_refused_with_those_that_are(mosaic):
    with pytest.raises(
        BadImageError, match=r"extension 'VAR'.*0 PRIMARY, 1 SCI, 2 ERR"
    ):
        read_header(mosaic, "VAR")


def test_exposure_is_read_from_the_extension_of_its_row(mosaic, counts):
    image = open_exposure(make_row(mosaic, extension="ERR", saturation=np.inf))
    np.testing.assert_array_equal(image.data, counts // 3)


def test_cube_of_one_plane_is_an_image(tmp_path, counts):
    fits.writeto(tmp_path / "a.fits", counts[None])

    np.testing.assert_array_equal(read_pixels(tmp_path / "a.fits")[0], counts)


def test_colour_image_is_refused(tmp_path, counts):
    fits.writeto(tmp_path / "a.fits", np.stack([counts] * 3))

    with pytest.raises(BadImageError, match=r"a\.fits .* two-dimensional .*3, 30, 50"):
        read_pixels(tmp_path / "a.fits")


def broken_file(folder, kind, counts):
    path = folder / "a.fits"
    fits.writeto(path, counts)
    whole = path.read_bytes()
    if kind == "text":
        path.write_text("no FITS file\n" * 500)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header cut":
        path.write_bytes(whole[:1000])
    elif kind == "pixels cut":
        path.write_bytes(whole[: 2880 + 1000])
    elif kind == "gzip cut":
        path = folder / "a.fits.gz"
        path.write_bytes(gzip.compress(whole)[:1500])
    elif kind == "no gzip":
        path = folder / "a.fits.gz"
        path.write_bytes(b"\x1f\x8b" + whole[:5000])
    elif kind == "fz cut":
        path = folder / "a.fits.fz"
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(counts)])
        hdus.writeto(path)
        path.write_bytes(path.read_bytes()[:7000])
    elif kind == "table":
        Table({"x": [1.0, 2.0]}).write(path, format="fits", overwrite=True)
    elif kind == "no pixels":
        fits.PrimaryHDU().writeto(path, overwrite=True)
    elif kind == "one row":
        fits.writeto(path, counts[0], overwrite=True)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    return path


KINDS = ["text", "empty", "header cut", "pixels cut", "gzip cut", "no gzip", "fz cut"]
KINDS += ["table", "no pixels", "one row", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_file_without_a_whole_image_is_refused_in_a_sentence(tmp_path, counts, kind):
    path = broken_file(tmp_path, kind, counts)

    with pytest.raises(BadImageError, match=rf"^{path.name} must .*\w") as refusal:
        read_pixels(path)
    assert "\n" not in str(refusal.value)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(BadImageError, match=r"a\.fits must be a whole FITS file"):
        read_pixels(tmp_path / "a.fits")


def test_pixels_without_a_value_are_masked(tmp_path):
    data = np.ones(SHAPE, np.float32)
    data[2, 3], data[4, 5] = np.nan, np.inf
    fits.writeto(tmp_path / "a.fits", data)
    image = open_exposure(make_row(tmp_path / "a.fits"))

    assert np.isnan(image.data[[2, 4], [3, 5]]).all()
    assert list(zip(*np.nonzero(image.mask), strict=True)) == [(2, 3), (4, 5)]
    assert image.mask[2, 3] == MASK_BITS["bad"]


def test_blank_integers_are_no_measurement(tmp_path):
    hdu = fits.PrimaryHDU(np.arange(1500, dtype=np.int16).reshape(SHAPE))
    hdu.header["BLANK"] = 7
    hdu.writeto(tmp_path / "a.fits")

    data, _ = read_pixels(tmp_path / "a.fits")

    assert np.isnan(data[0, 7])
    assert np.isfinite(data).sum() == data.size - 1


def test_saturated_pixel_spoils_its_four_neighbours():
    data = np.zeros(SHAPE, np.float32)
    data[10, 20] = 60000.0
    mask = make_mask(data, 60000.0)

    assert (mask[10, 20], mask[9, 20], mask[10, 21]) == (MASK_BITS["saturated"],) * 3
    assert np.count_nonzero(mask) == 5


def test_pixel_cut_off_at_a_saturation_between_two_floats_is_saturated():
    # 49999.9 is no float32: the nearest is 49999.8984.
    data = np.zeros(SHAPE, np.float32)
    data[10, 20] = 49999.9

    assert np.count_nonzero(make_mask(data, np.float64(49999.9))) == 5


def test_unknown_saturation_masks_nothing():
    assert not make_mask(np.full(SHAPE, 1e9, np.float32), np.inf).any()


@pytest.mark.parametrize("gain", [0.0, -1.0, np.nan])
def test_image_without_a_gain_is_refused(make_image, gain):
    with pytest.raises(BadImageError, match=r"gain must be > 0.*Set the parameter"):
        make_image(gain=gain)


def test_data_and_mask_must_be_of_one_shape(make_image):
    with pytest.raises(BadImageError, match=r"one shape, got \(120, 160\) and"):
        make_image(mask=np.zeros((160, 120), np.uint8))


def test_written_image_comes_back_with_its_wcs_and_injected_pixels(
    tmp_path, make_image
):
    header = sip_wcs().to_header(relax=True)
    header["SIMULATD"], header["OBJECT"], header["BZERO"] = True, "M 31", 32768
    header["HISTORY"] = "flat done"
    image = make_image(shape=SHAPE, noise=3.0, header=header, saturation=108.0)
    image.data[3, 4] = np.nan
    image.mask[12:15, 20:22] = MASK_BITS["injected"]
    write_image(tmp_path / "a.fits", image)

    row = make_row("elsewhere.fits", saturation=108.0)
    back = open_exposure(row, tmp_path / "a.fits")

    np.testing.assert_array_equal(back.data, image.data)
    injected = (back.mask & MASK_BITS["injected"]) > 0
    np.testing.assert_array_equal(injected, image.mask == MASK_BITS["injected"])
    assert back.mask[3, 4] == MASK_BITS["bad"]
    assert ((back.mask & MASK_BITS["saturated"]) > 0).sum() >= (image.data >= 108).sum()
    assert back.header["OBJECT"] == "M 31"
    for x, y in ((0, 0), (49, 3), (7, 29)):
        np.testing.assert_allclose(
            back.wcs.all_pix2world(x, y, 0),
            sip_wcs().all_pix2world(x, y, 0),
            rtol=0,
            atol=1e-9,
        )


def test_image_of_an_extension_can_be_written(tmp_path, make_image, counts):
    write_extension(tmp_path / "a.fits", {"GAIN": 1.7}, {"INHERIT": True}, counts)
    data, header = read_pixels(tmp_path / "a.fits")
    image = make_image(
        shape=SHAPE, data=data, mask=np.zeros(SHAPE, np.uint8), header=header
    )
    write_image(tmp_path / "b.fits", image)

    with fits.open(tmp_path / "b.fits") as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data, counts)
        assert hdus[0].header["GAIN"] == 1.7


def test_image_is_not_changed_by_writing(tmp_path, make_image):
    image = make_image(shape=SHAPE, header=sip_wcs().to_header(relax=True))
    before = replace(image, data=image.data.copy(), header=image.header.copy())
    write_image(tmp_path / "a.fits", image)

    np.testing.assert_array_equal(image.data, before.data)
    assert image.header == before.header


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CRVAL1": 1.0, "CRVAL2": 1.0},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 0.0, "CD2_2": 0.0},
        {"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN"},
    ],
    ids=["none", "linear", "singular", "two right ascensions"],
)
def test_header_without_a_sky_has_no_wcs(cards):
    assert header_wcs(fits.Header(cards)) is None


def test_malformed_cards_do_not_cost_a_real_frame(tmp_path, make_image):
    if not REALDATA.is_dir():
        pytest.skip(f"the real frames are not at {REALDATA}")
    data, header = read_pixels(REALDATA / "streak/long.fits")
    image = make_image(data=data, mask=np.zeros(data.shape, np.uint8), header=header)
    write_image(tmp_path / "a.fits", image)
    again, back = read_pixels(tmp_path / "a.fits")

    assert data.shape == (512, 512)
    np.testing.assert_array_equal(again, data)
    assert back["EXPTIME"] == header["EXPTIME"]
