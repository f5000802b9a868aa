import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from ruamel.yaml import YAML

from gmadet_nb.campaign.new import cutout_size, new_campaign, sources_per_exposure
from gmadet_nb.campaign.parameters import check_values, read_campaign, read_schema
from gmadet_nb.campaign.survey import guess_saturation, survey_folder
from gmadet_nb.errors import BadInputError, BadParameterError

REPOSITORY = Path(__file__).resolve().parents[1]
REALDATA = Path(os.environ.get("REALDATA") or REPOSITORY.parent / "shared/realdata")
REAL_SETS = [
    "tres1",
    "saao_kb13475",
    "decam_pair",
    "eso085_nowcs",
    "streak",
    "sep_image",
]


def write_exposure(path, *, data=None, ra=10.0, wcs=True, seed=1, **cards):
    """Write 90 x 120 pixels of 1 arcsec with six stars of FWHM 4 pixels."""
    if data is None:
        draw = np.random.default_rng(seed)
        y, x = np.mgrid[:90, :120]
        data = 500 + 10 * draw.standard_normal((90, 120))
        for i in range(6):
            distance = (x - 15 - 18 * i) ** 2 + (y - 20 - 10 * (i % 5)) ** 2
            data += (800 + 900 * i) * np.exp(-distance * 4 * np.log(2) / 4**2)
    header = fits.Header()
    if wcs:
        header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
        header.update({"CRVAL1": ra, "CRVAL2": 20.0, "CRPIX1": 60.5, "CRPIX2": 45.5})
        header.update({"CD1_1": -1 / 3600, "CD2_2": 1 / 3600})
    header.update(cards)
    fits.writeto(path, np.asarray(data, np.float32), header)


@pytest.fixture
def night(tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()

    def make(n=5, **cards):
        for i in range(n):
            write_exposure(folder / f"e{i}.fits", seed=i, **cards)
        return folder

    return make


def read_yaml(path):
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def test_a_complete_night_needs_nothing(night, tmp_path):
    folder = night(GAIN=1.5, RDNOISE=4.0, SATURATE=60000.0, FILTER="R", EXPTIME=30.0)

    campaign = new_campaign("mine", folder, params_dir=tmp_path / "params")

    assert campaign.missing == []
    assert campaign.path == tmp_path / "params/mine.yaml"
    values = read_yaml(campaign.path)
    assert values["images_dir"] == str(folder)
    assert values["run_dir"] == "runs/mine"
    assert values["telescope"] == "generic"
    assert values["reference"] == "stack"
    assert values["snr_range"] == [4.0, 100.0]


def test_what_no_header_states_is_asked_for_by_name(night, tmp_path):
    campaign = new_campaign("mine", night(), params_dir=tmp_path)

    assert campaign.missing == ["gain", "read_noise", "saturation"]
    text = campaign.path.read_text()
    assert "# gain: ?  # [electron/adu] no exposure states it under EGAIN, GAIN" in text
    assert "gain" not in read_yaml(campaign.path)


def test_what_is_said_names_the_file_and_what_is_missing(night, tmp_path):
    campaign = new_campaign("mine", night(), params_dir=tmp_path)

    assert f"wrote {tmp_path / 'mine.yaml'}" in str(campaign)
    assert "by hand: gain, read_noise, saturation" in str(campaign)


def test_a_value_that_some_exposures_lack_is_asked_for(night, tmp_path):
    folder = night(GAIN=1.5, RDNOISE=4.0, SATURATE=6e4)
    write_exposure(folder / "other.fits", RDNOISE=4.0, SATURATE=6e4)

    campaign = new_campaign("mine", folder, params_dir=tmp_path)

    assert campaign.missing == ["gain"]
    assert "1 of 6 exposures do not state it" in campaign.path.read_text()


def test_the_gain_setting_of_a_camera_is_doubted(night, tmp_path):
    folder = night(GAIN=139, RDNOISE=4.0, SATURATE=6e4)

    campaign = new_campaign("mine", folder, params_dir=tmp_path)

    assert campaign.missing == ["gain"]
    assert "GAIN is 139, which may be the camera's setting" in campaign.path.read_text()


def test_few_exposures_of_one_field_ask_for_a_reference(night, tmp_path):
    folder = night(n=3)
    # Two degrees away: it cannot serve in the stack.
    write_exposure(folder / "elsewhere.fits", ra=12.0)

    campaign = new_campaign("mine", folder, params_dir=tmp_path)

    assert "reference" in campaign.missing
    assert "reference" not in read_yaml(campaign.path)


def test_exposures_without_wcs_of_one_target_are_stacked(night, tmp_path):
    campaign = new_campaign("mine", night(wcs=False, OBJECT="M1"), params_dir=tmp_path)

    assert read_yaml(campaign.path)["reference"] == "stack"
    assert "aligns them by their stars" in campaign.path.read_text()


def test_dithered_exposures_show_one_field(tmp_path):
    for i in range(4):
        # Steps of 10 pixels along RA; the inner half of a field is 45 pixels wide.
        write_exposure(tmp_path / f"e{i}.fits", ra=10 + i * 10 / 3600)

    assert survey_folder(tmp_path).n_same_field == 4


def test_the_fwhm_of_the_stars_is_found(night):
    # A half-light radius of pixels that are a quarter of the FWHM: within 10%.
    assert survey_folder(night(n=1)).fwhm == pytest.approx(4.0, rel=0.1)


def test_an_existing_file_is_not_overwritten(night, tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    folder = night()

    with pytest.raises(BadParameterError, match="exists and is not overwritten"):
        new_campaign("mine", folder, params_dir=tmp_path)
    assert (tmp_path / "mine.yaml").read_text() == "seed: 7\n"

    new_campaign("mine", folder, params_dir=tmp_path, overwrite=True)
    assert "run_dir" in (tmp_path / "mine.yaml").read_text()


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "é"])
def test_a_name_that_is_no_file_name_is_refused(night, tmp_path, name):
    with pytest.raises(BadParameterError, match="campaign name must be letters"):
        new_campaign(name, night(n=1), params_dir=tmp_path)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(BadParameterError, match="folder of FITS files"):
        new_campaign("mine", tmp_path / "nowhere", params_dir=tmp_path)
    with pytest.raises(BadInputError, match="must hold FITS files"):
        new_campaign("mine", tmp_path, params_dir=tmp_path)


def test_unreadable_files_are_named_and_left_out(night, tmp_path):
    folder = night()
    (folder / "broken.fits").write_text("no FITS")

    campaign = new_campaign("mine", folder, params_dir=tmp_path)

    assert any("broken.fits" in line for line in campaign.report)
    assert "images: 5 exposures" in campaign.report[0]


def test_a_folder_of_broken_files_is_refused(tmp_path):
    (tmp_path / "broken.fits").write_text("no FITS")

    with pytest.raises(BadInputError, match="at least one image that can be read"):
        new_campaign("mine", tmp_path, params_dir=tmp_path)


def test_calibration_frames_and_mixed_filters_are_pointed_out(night, tmp_path):
    folder = night(n=2, FILTER="V")
    write_exposure(folder / "dark.fits", IMAGETYP="Dark Frame", FILTER="B")

    report = "\n".join(new_campaign("mine", folder, params_dir=tmp_path).report)

    assert "1 files are no exposures of the sky by IMAGETYP, dark.fits" in report
    assert "more than one filter" in report


def test_a_telescope_is_recognized_by_its_header_names(night):
    survey = survey_folder(night(n=1, TELESCOP="saao 1.0M"))

    assert survey.telescope.alias == "saao-1m"
    assert "TELESCOP" in survey.telescope_reason


def test_a_folder_name_with_odd_characters_survives(tmp_path):
    folder = tmp_path / 'a #1: "night" é'
    folder.mkdir()
    write_exposure(folder / "e.fits", OBJECT="x: # y")

    campaign = new_campaign("mine", folder, params_dir=tmp_path)

    assert read_yaml(campaign.path)["images_dir"] == str(folder)


def test_a_clipped_value_is_the_saturation(rng):
    data = np.minimum(rng.exponential(5000, 100_000), 30_000)

    assert guess_saturation(data) == 30_000


def test_a_hump_at_the_bright_end_is_the_saturation(rng):
    stars = rng.pareto(1.0, 2000) * 500
    stars = stars[stars < 57_000]
    full = 57_500 + 300 * rng.standard_normal(40)

    # 2% below the hump's lower quartile, which is 0.67 sigma below its middle; one
    # star's pixel is expected among the hump's.
    guess = guess_saturation(np.concatenate([stars, full]))
    assert guess == pytest.approx(0.98 * (57_500 - 0.67 * 300), rel=0.005)


def test_no_saturation_is_seen_in_an_image_without(rng):
    assert guess_saturation(rng.normal(500, 10, 10_000)) is None
    assert guess_saturation(rng.pareto(1.0, 20_000) * 50) is None
    assert guess_saturation(np.full(5, np.nan)) is None


def test_the_cutout_grows_with_the_fwhm():
    assert cutout_size(2.5, least=32) == 32
    assert cutout_size(6.0, least=32) == 48
    assert cutout_size(40.0, least=32) == 64
    assert cutout_size(np.nan, least=32) == 32


def test_sources_do_not_crowd_each_other():
    # 512 x 512 pixels hold 112 squares of 6 x 4.1 pixels.
    survey = {"nx": np.full(5, 512), "ny": np.full(5, 512)}

    class Rows(dict):
        def __len__(self):
            return 5

    n_sources = sources_per_exposure(Rows(survey), 4.1)
    assert n_sources <= 512**2 / (6 * 4.1) ** 2


def real_campaign(name, tmp_path):
    if not (REALDATA / name).is_dir():
        pytest.skip(f"the real frames are not at {REALDATA}")
    return new_campaign(name, REALDATA / name, params_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("tres1", []),
        ("saao_kb13475", []),
        ("decam_pair", []),
        ("eso085_nowcs", ["gain", "read_noise", "saturation", "reference"]),
        ("streak", ["gain", "read_noise", "saturation", "reference"]),
        ("sep_image", ["gain", "read_noise", "saturation", "reference"]),
    ],
)
def test_a_real_set_is_understood(name, missing, tmp_path):
    assert real_campaign(name, tmp_path).missing == missing


def test_the_saturation_of_the_real_sets_is_seen(tmp_path):
    if not REALDATA.is_dir():
        pytest.skip(f"the real frames are not at {REALDATA}")

    assert survey_folder(REALDATA / "saao_kb13475").saturation_guess == 65300
    assert survey_folder(REALDATA / "eso085_nowcs").saturation_guess == 65535
    assert survey_folder(REALDATA / "decam_pair").saturation_guess is None
    # Flat cores of saturated stars stand at 57,300 to 58,600.
    assert 55_000 < survey_folder(REALDATA / "tres1").saturation_guess < 57_500


NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("name", ["", *REAL_SETS])
def test_the_runner_accepts_what_is_written(name, night, tmp_path):
    if len(NOTEBOOKS) < 10:
        pytest.skip("not all notebooks are there")
    campaign = (
        real_campaign(name, tmp_path)
        if name
        else new_campaign("mine", night(), params_dir=tmp_path)
    )
    schemas = {path.stem: read_schema(path) for path in NOTEBOOKS}

    values = read_campaign(campaign.path)

    assert set(check_values(values, schemas, source="test")) == set(values)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "params").glob("*.yaml")))
def test_the_runner_accepts_every_campaign_of_the_repository(path):
    if len(NOTEBOOKS) < 10:
        pytest.skip("not all notebooks are there")
    schemas = {path.stem: read_schema(path) for path in NOTEBOOKS}

    values = read_campaign(path)
    assert set(check_values(values, schemas, source=path.name)) == set(values)
