"""One night with every kind of bad file in it, through 01_images and 03_detect."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from star_fields import expose, moffat, scatter_stars
from test_bad_input import CARDS, SETTINGS

from gmadet_nb.campaign.steps import difference, examine
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import RunDir

SHAPE = (170, 230)  # (ny, nx), not square
# The stars of the field lie on more than one exposure covers.
FIELD = (220, 300)
NEW_FLUX = 8000.0  # of the transients [adu]: S/N 60 to 70
# Where each exposure that can serve has its own transient, x and y [pixel].
TRANSIENTS = {
    "good_01": (60.3, 90.2),
    "good_02": (120.8, 40.4),
    "good_03": (170.1, 120.7),
    "compressed": (80.6, 130.3),
    "integers": (40.2, 50.9),
    "extensions": (150.4, 85.2),
    "strip": (101.3, 30.6),
    "half_masked": (180.7, 60.1),
}


def make_wcs(pointing, ra=150.0):
    """Return a WCS of 1 arcsec a pixel whose first pixel is at ``pointing``."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, 20.0]
    wcs.wcs.crpix = [1.0 - pointing[0], 1.0 - pointing[1]]
    wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    return wcs.to_header()


def take(name, stars, pointing, seed, *, shape=SHAPE):
    """Expose the stars of a field, and the transient of this exposure."""
    x, y = TRANSIENTS.get(name, (-50.0, -50.0))
    seen = Table(
        {
            "x": np.append(stars["x"] - pointing[0], x),
            "y": np.append(stars["y"] - pointing[1], y),
            "flux": np.append(stars["flux"], NEW_FLUX),
        }
    )
    rng = np.random.default_rng([seed, 2])
    return expose(moffat(shape, 3.0), seen, rng=rng)


def write(path, data, cards, *, hdu=fits.PrimaryHDU):
    image = hdu(data)
    image.header.update(cards)
    hdus = [image] if hdu is fits.PrimaryHDU else [fits.PrimaryHDU(), image]
    fits.HDUList(hdus).writeto(path)


def write_usable(folder, stars):
    """Write exposures in all the forms that must serve."""
    for seed, name in enumerate(TRANSIENTS):
        pointing = 10.0 + 7 * seed % 40, 5.0 + 11 * seed % 40
        shape = (64, 230) if name == "strip" else SHAPE
        data = take(name, stars, pointing, seed, shape=shape)
        cards = CARDS | dict(make_wcs(pointing))
        if name == "integers":
            # FITS keeps them as signed ones, with BZERO 32768.
            write(folder / f"{name}.fits", np.rint(data).astype(np.uint16), cards)
            assert fits.getheader(folder / f"{name}.fits")["BZERO"] == 32768
        elif name == "compressed":
            counts = np.rint(data).astype(np.int32)
            path = folder / f"{name}.fits.fz"
            write(path, counts, cards, hdu=fits.CompImageHDU)
        elif name == "extensions":
            table = fits.BinTableHDU(Table({"a": [1, 2]}))
            image = fits.ImageHDU(data, fits.Header(cards))
            image.header.update(cards)
            hdus = [fits.PrimaryHDU(), table, image]
            fits.HDUList(hdus).writeto(folder / f"{name}.fits")
        else:
            if name == "half_masked":
                data[:, :110] = np.nan
            write(folder / f"{name}.fits", data, cards)


def write_bad(folder, stars, others, more):
    """Write the files that must be set aside."""
    data = take("none", stars, (20.0, 20.0), 50)
    cards = CARDS | dict(make_wcs((20.0, 20.0)))
    sky = np.random.default_rng(1).normal(200, 10, SHAPE).astype(np.float32)
    mostly_masked = data.copy()
    mostly_masked[: int(0.92 * SHAPE[0])] = np.nan
    images = {
        "without_stars": sky,
        "saturated": np.full(SHAPE, 65000, np.float32),
        "constant": np.full(SHAPE, 300, np.float32),
        "unmeasured": np.full(SHAPE, np.nan, np.float32),
        "mostly_masked": mostly_masked,
        "line": sky[0],
        "cube": np.stack([sky] * 3),
        "dot": sky[:1, :1],
        "sliver": sky[:2],
    }
    for name, image in images.items():
        write(folder / f"{name}.fits", image, cards)
    write(folder / "negative_gain.fits", data, cards | {"GAIN": -2.0})
    without = {name: value for name, value in cards.items() if name != "GAIN"}
    write(folder / "without_gain.fits", data, without)
    (folder / "empty.fits").write_bytes(b"")
    (folder / "text.fits").write_text("exposure,seeing\n1,2.5\n")
    whole = (folder / "good_01.fits").read_bytes()
    (folder / "cut.fits").write_bytes(whole[: len(whole) // 2])
    (folder / "cut_header.fits").write_bytes(whole[:400])
    fits.HDUList([fits.PrimaryHDU()]).writeto(folder / "without_image.fits")
    # Stars enough, but not those of the field: with a WCS that says so, and without.
    data = take("none", others, (20.0, 20.0), 51)
    write(folder / "elsewhere.fits", data, CARDS | dict(make_wcs((0, 0), ra=151.0)))
    write(folder / "other_stars.fits", take("none", more, (20.0, 20.0), 52), CARDS)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Write the night."""
    folder = tmp_path_factory.mktemp("bad_night") / "images"
    folder.mkdir()
    stars, others, more = (
        scatter_stars(FIELD, np.random.default_rng(seed), cell=24, flux=(5e3, 1e5))
        for seed in (8, 9, 10)
    )
    write_usable(folder, stars)
    write_bad(folder, stars, others, more)
    return folder


@pytest.fixture(scope="module")
def run(night):
    """Examine the night."""
    run = RunDir(night.parent / "run")
    rows = [
        examine.examine_exposure(
            exposure, run_dir=str(run.root), telescope="generic", settings=SETTINGS
        )
        for exposure in examine.list_exposures(night)
    ]
    run.write_table("exposures", examine.exposures_table(rows))
    return run


def search(run, exposure_id, *, reference="stack"):
    return difference.detect_on_exposure(
        exposure_id,
        run_dir=str(run.root),
        workflow="apply",
        subtraction="auto",
        reference=reference,
        reference_gain="auto",
        n_stack=3,
        kernel_degree=0,
        threshold=5.0,
    )


@pytest.fixture(scope="module")
def exposures(run):
    return {str(row["exposure_id"]): row for row in run.read_table("exposures")}


@pytest.fixture(scope="module")
def found(run, exposures):
    """Search what is used of the night."""
    return {name: search(run, name) for name, row in exposures.items() if row["used"]}


def assert_sentence(reason, expected):
    assert expected in reason
    assert reason.endswith(".")
    assert "\n" not in reason
    # Nothing of the inside of numpy or Python.
    assert not {"np.", "Traceback", "object at", "dtype"} & set(reason.split())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("without_stars", "must show at least 5 stars"),
        ("saturated", "got 0.0%: 0.0% have no value, 100.0% are at its saturation"),
        ("constant", "must hold more than one value"),
        ("unmeasured", "got 0.0%: 100.0% have no value, 0.0% are at its saturation"),
        ("mostly_masked", "got 8.2%: 91.8% have no value, 0.0% are at its saturation"),
        ("line", "no extension of it has two axes"),
        ("cube", "must hold a two-dimensional image, got shape (3, 170, 230)"),
        ("dot", "must hold a two-dimensional image"),
        ("sliver", "or a strip of a few pixels"),
        ("negative_gain", "states one above 0. Set the parameter 'gain'"),
        ("without_gain", "Set the parameter 'gain'"),
        ("empty", "empty.fits must be a whole FITS file, and it is empty."),
        ("text", "text.fits must be a whole FITS file, and it does not begin as one."),
        ("cut", "cut.fits must be a whole FITS file, and it may be cut short (cannot"),
        ("cut_header", "must be a whole FITS file, and it may be cut short (Empty"),
        ("without_image", "without_image.fits must hold an image"),
    ],
)
def test_file_that_cannot_serve_is_set_aside_in_a_sentence(exposures, name, expected):
    row = exposures[name]

    assert not row["used"]
    assert_sentence(row["reason"], expected)


@pytest.mark.parametrize("name", ["elsewhere", "other_stars"])
def test_exposure_of_another_field_is_not_subtracted_and_says_so(found, name):
    search = found[name]

    assert search.candidates is None
    assert not search.row["good"]
    assert_sentence(search.row["reason"], "No exposure can be its reference, of 5 that")


@pytest.mark.parametrize("name", TRANSIENTS)
def test_exposure_in_any_form_yields_its_transient(found, exposures, name):
    assert exposures[name]["used"], exposures[name]["reason"]
    candidates = found[name].candidates
    assert candidates is not None, found[name].row["reason"]
    x, y = TRANSIENTS[name]
    distance = np.hypot(candidates["x"] - x, candidates["y"] - y)
    nearest = candidates[np.argmin(distance)]

    # S/N 50 gives a place to 3 / 2.35 / 50 = 0.03 pixel, and a flux to 2 %; the
    # match of the images adds some percent.
    assert distance.min() < 5 * 0.03
    assert nearest["flux"] == pytest.approx(NEW_FLUX, rel=0.15)


def test_night_ends_in_tables(run, found):
    results = list(found.values())
    table = difference.subtractions_table(results)
    candidates = difference.candidates_table(results, run.read_table("exposures"))
    run.write_table("subtractions", table)
    run.write_table("candidates", candidates)

    assert set(candidates["exposure_id"]) == set(TRANSIENTS)
    assert len(run.read_table("subtractions")) == len(found)


def test_reference_of_another_field_is_said_of_every_exposure(run, night):
    results = [
        search(run, name, reference=str(night / "other_stars.fits"))
        for name in ("good_01", "strip")
    ]
    for result in results:
        assert result.candidates is None
        assert_sentence(result.row["reason"], "must")

    with pytest.raises(BadInputError, match=r"none could: good_01: .*; strip: "):
        difference.candidates_table(results, run.read_table("exposures"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", r"text\.fits must be a whole FITS file"),
        ("constant", "must hold more than one value"),
        ("without_stars", "at least 3 stars"),
        ("without_gain", "Set the parameter 'reference_gain'"),
    ],
)
def test_reference_that_cannot_serve_stops_with_a_sentence(run, night, name, expected):
    with pytest.raises(BadInputError, match=expected):
        difference.candidates_table(
            [search(run, "good_01", reference=str(night / f"{name}.fits"))],
            run.read_table("exposures"),
        )
