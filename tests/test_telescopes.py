import os
from dataclasses import fields
from pathlib import Path

import pytest
from astropy.io import fits

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.fits_files import read_pixels
from gmadet_nb.files.headers import effective_gain, header_values, read_mjd, read_number
from gmadet_nb.files.telescopes import (
    FILE_KEYS,
    Telescope,
    list_telescopes,
    load_telescope,
)

REPOSITORY = Path(__file__).resolve().parents[1]
REALDATA = Path(os.environ.get("REALDATA") or REPOSITORY.parent / "shared/realdata")

GMADET_ALIASES = [
    "FRAM-Auger",
    "FRAM-CTA-N",
    "IRIS",
    "KAIT",
    "Lisniky-AZT8",
    "OAJ-T80",
    "TCA",
    "TCH",
    "TRE",
    "UBAI-T60N",
    "UBAI-T60S",
]


@pytest.fixture
def generic():
    return load_telescope("generic")


@pytest.fixture
def telescope_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def real_header(folder, number=0):
    if not REALDATA.is_dir():
        pytest.skip(f"the real frames are not at {REALDATA}")
    return read_pixels(sorted((REALDATA / folder).glob("*.fit*"))[number])[1]


def header_of(**cards):
    return fits.Header([(key.replace("_", "-"), value) for key, value in cards.items()])


# --- telescope files


@pytest.mark.parametrize("alias", ["generic", "saao-1m", *GMADET_ALIASES])
def test_every_telescope_file_is_valid(alias):
    assert load_telescope(alias).alias == alias


def test_every_file_in_the_folder_loads_and_describes_itself():
    for alias in list_telescopes():
        assert load_telescope(alias).description


def test_generic_states_the_same_keywords_as_the_defaults(generic):
    default = Telescope(alias="generic")
    for field in fields(Telescope):
        if field.name != "description":
            assert getattr(generic, field.name) == getattr(default, field.name)


@pytest.mark.parametrize("alias", GMADET_ALIASES)
def test_no_default_of_gmadet_is_given_as_a_fact(alias):
    telescope = load_telescope(alias)

    assert telescope.gain is None
    assert telescope.saturation is None
    assert telescope.pixel_scale == {"IRIS": 0.68, "TCA": 3.3}.get(alias, 0)


def test_a_telescope_is_found_by_path(telescope_file):
    telescope = load_telescope(telescope_file("gain: 2\ngain_keywords: [G]\n"))

    assert (telescope.alias, telescope.gain) == ("mine", 2.0)
    assert telescope.gain_keywords == ("G",)


def test_telescopes_of_the_working_folder_come_first(tmp_path, monkeypatch):
    (tmp_path / "params/telescopes").mkdir(parents=True)
    (tmp_path / "params/telescopes/TCA.yaml").write_text("pixel_scale: 3.35\n")
    monkeypatch.chdir(tmp_path)

    assert load_telescope("TCA").pixel_scale == 3.35
    assert load_telescope("IRIS").pixel_scale == 0.68


def test_an_unknown_alias_names_the_nearest():
    with pytest.raises(BadInputError, match="Did you mean 'UBAI-T60S'"):
        load_telescope("ubai-t60-s")


def test_an_unknown_key_names_the_nearest(telescope_file):
    with pytest.raises(BadInputError, match="Did you mean 'gain_keywords'"):
        load_telescope(telescope_file("gain_keyword: [GAIN]\n"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gain: '2.0'", r"gain must be a number > 0 \[electron/adu\]"),
        ("gain: 0", "gain must be a number > 0"),
        ("gain: .nan", "gain must be a number > 0"),
        ("saturation: .inf", "saturation must be a number > 0"),
        ("gain: true", "gain must be a number > 0"),
        ("pixel_scale: -1", "pixel_scale must be a number >= 0"),
        ("pixel_scale:", "pixel_scale must be a number >= 0"),
        ("gain_keywords: GAIN", "gain_keywords must be a list of text"),
        ("gain_keywords: [1]", "gain_keywords must be a list of text"),
        ("filter_map: [R]", "filter_map must be lines"),
        ("filter_map: {58: 5}", "filter_map must be lines"),
        ("psf_degree: 1.5", "psf_degree must be a whole number"),
        ("psf_size: 24", "psf_size must be an odd whole number"),
        ("cutout_size: 2", "cutout_size must be a whole number >= 8"),
        ("description: 3", "description must be text"),
        ("gain: 1\ngain: 2", "Cannot read telescope file"),
        ("- gain", "must hold lines 'name: value'"),
        ("gain: [", "Cannot read telescope file"),
    ],
)
def test_a_wrong_value_is_refused(telescope_file, line, message):
    with pytest.raises(BadInputError, match=message):
        load_telescope(telescope_file(line))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "image.yaml"
    path.write_bytes(b"\xff\xfe\x00SIMPLE")

    with pytest.raises(BadInputError, match="Cannot read telescope file"):
        load_telescope(path)


def test_an_empty_file_is_the_generic_telescope(telescope_file):
    assert load_telescope(telescope_file("")) == Telescope(alias="mine")


def test_file_keys_are_the_fields_but_the_alias():
    assert set(FILE_KEYS) == {field.name for field in fields(Telescope)} - {"alias"}


# --- numbers and dates


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1.9, 1.9),
        (2, 2.0),
        ("1.9 e-/ADU", 1.9),
        ("1,9", 1.9),
        (" '1.9' ", 1.9),
        ("6.5D4", 65000.0),
        (".5", 0.5),
        ("e-/ADU", None),
        ("1.2.3", None),
        ("12:30:00", None),
        ("2012-06-17", None),
        ("", None),
        ("nan", None),
        (float("inf"), None),
        (True, None),
        (None, None),
    ],
)
def test_a_number_is_read_from_what_headers_hold(value, number):
    assert read_number(value) == number


def test_a_saturation_with_a_thousands_separator_is_not_a_decimal():
    assert read_number("65,535 ADU", thousands=True) == 65535
    assert read_number("1,900") == 1.9


# 2013-06-27 is MJD 56470; 23:13:12 is 0.9675 of a day.
@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2013-06-27T23:13:12", None),
        ("2013-06-27T23:13:12.0Z", None),
        ("2013-06-27 23:13:12", None),
        ("2013/06/27", "23:13:12"),
        ("2013-06-27", "23:13:12.0"),
        ("2013-06-27", " 23 13 12"),
        ("2013-06-27", 83592.0),
        ("27/06/13", "23:13:12"),
        ("27/06/113", "23:13:12"),
        ("27/06/2013", "23:13:12"),
        (56470.9675, None),
        ("56470.9675", None),
        (2456471.4675, None),
    ],
)
def test_a_date_is_read_in_every_form(value, time):
    mjd, has_time = read_mjd(value, time)

    # A JD in double precision is good to 4e-5 s.
    assert mjd == pytest.approx(56470.9675, abs=1e-8)
    assert has_time


@pytest.mark.parametrize(
    "value", [None, "", "unknown", 0, -1, 12.5, "2013-13-45", "2013-06-27T", 1e30]
)
def test_what_is_no_date_has_no_mjd(value):
    mjd, has_time = read_mjd(value)

    assert mjd is None or not has_time


def test_the_last_century_is_told_from_this_one():
    assert read_mjd("26/10/92")[0] == 48921
    assert read_mjd("26/07/102")[0] == 52481


# --- header values


def test_nothing_is_made_up_for_an_empty_header(generic):
    values = header_values(fits.Header(), generic)
    sources = values.pop("sources")

    assert set(values.values()) == {None}
    assert set(sources) == set(values)
    assert set(sources.values()) == {""}


@pytest.mark.parametrize("unusable", [0, -1.0, "none", "", True, "nan", None])
def test_an_unusable_gain_gives_way_to_the_next_keyword(generic, unusable):
    values = header_values(header_of(EGAIN=unusable, GAIN=2.5), generic)

    assert values["gain"] == 2.5
    assert values["sources"]["gain"] == "GAIN"


def test_egain_wins_over_the_camera_setting_named_gain(generic):
    assert header_values(header_of(GAIN=139, EGAIN=0.9), generic)["gain"] == 0.9


def test_the_header_wins_over_the_telescope_file():
    telescope = Telescope(alias="mine", gain=3.0, saturation=60000.0)
    values = header_values(header_of(GAIN=2.0), telescope)

    assert (values["gain"], values["sources"]["gain"]) == (2.0, "GAIN")
    assert values["saturation"] == 60000
    assert values["sources"]["saturation"] == "telescope file"


def test_an_unquoted_comma_decimal_is_read(generic):
    header = fits.Header.fromstring(f"{'GAIN    = 1,9 / e-/ADU':80s}")

    assert header_values(header, generic)["gain"] == 1.9


def test_an_unreadable_card_elsewhere_does_no_harm(generic):
    cards = ["BAD     = 'never closed", "GAIN    =  1.5", "FOO     = 1 2 3"]
    header = fits.Header.fromstring("".join(f"{card:80s}" for card in cards))

    assert header_values(header, generic)["gain"] == 1.5


def test_exposure_stands_in_for_exptime(generic):
    values = header_values(header_of(EXPTIME=0, EXPOSURE="30 s"), generic)

    assert (values["exptime"], values["sources"]["exptime"]) == (30.0, "EXPOSURE")


def test_a_date_without_time_gives_way_to_one_with(generic):
    header = header_of(DATE_OBS="2013-06-27", JD=2456471.4675)
    values = header_values(header, generic)

    assert values["mjd"] == pytest.approx(56470.9675, abs=1e-8)
    assert values["sources"]["mjd"] == "JD"


def test_a_date_without_time_is_better_than_none_and_says_so(generic):
    values = header_values(header_of(DATE_OBS="2013-06-27", MJD_OBS=0.0), generic)

    assert values["mjd"] == 56470
    assert values["sources"]["mjd"] == "DATE-OBS (no time of day)"


def test_an_empty_filter_slot_gives_way_to_the_second_wheel(generic):
    header = header_of(FILTER1="AIR", FILTER2="V")
    assert header_values(header, generic)["filter"] == "V"

    header = header_of(FILTER1="Clear", FILTER2="")
    assert header_values(header, generic)["filter"] == "Clear"


def test_the_filter_map_names_filters():
    telescope = Telescope(alias="mine", filter_map={"58": "I"})

    assert header_values(header_of(FILTERS=58), telescope)["filter"] == "I"
    assert header_values(header_of(FILTERS=57), telescope)["filter"] == "57"


def wcs_cards(scale, **more):
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0}
    cards |= {"CRVAL2": 20.0, "CRPIX1": 50.0, "CRPIX2": 50.0, "CD1_1": -scale / 3600}
    return fits.Header(list((cards | {"CD2_2": scale / 3600} | more).items()))


def test_the_pixel_scale_comes_from_the_wcs_also_of_a_cube(generic):
    assert header_values(wcs_cards(0.68), generic)["pixel_scale"] == pytest.approx(0.68)

    cube = wcs_cards(0.68, NAXIS=3, NAXIS1=9, NAXIS2=9, NAXIS3=1, CTYPE3="FREQ")
    assert header_values(cube, generic)["pixel_scale"] == pytest.approx(0.68)


def test_the_telescope_file_fixes_the_pixel_scale():
    values = header_values(wcs_cards(0.68), Telescope(alias="mine", pixel_scale=0.7))

    assert values["pixel_scale"] == 0.7
    assert values["sources"]["pixel_scale"] == "telescope file"


def test_a_wcs_of_one_degree_a_pixel_is_an_unset_one(generic):
    assert header_values(wcs_cards(3600.0), generic)["pixel_scale"] is None
    assert header_values(wcs_cards(0.0), generic)["pixel_scale"] is None


def test_the_pixel_scale_comes_from_pixel_and_focal_length(generic):
    # 9 micron at 2 m: 206265 * 9e-6 / 2 = 0.928 arcsec.
    values = header_values(header_of(XPIXSZ=9.0, FOCALLEN=2000.0), generic)

    assert values["pixel_scale"] == pytest.approx(0.9282, abs=1e-4)


def test_the_header_is_not_changed(generic):
    header = header_of(GAIN="1,9", DATE_OBS="2013-06-27")
    before = header.tostring()

    header_values(header, generic)

    assert header.tostring() == before


# --- real headers


@pytest.mark.parametrize(
    ("folder", "alias", "expected"),
    [
        (
            "tres1",
            "generic",
            {
                "gain": 0.78,
                "read_noise": None,
                "saturation": None,
                "exptime": 60,
                "mjd": 2456095.5877662036 - 2400000.5,
                "filter": "Filter 2",
                "pixel_scale": 2.377,
            },
        ),
        ("tres1", "st10-refractor", {"read_noise": 8.8, "saturation": 57000}),
        (
            "saao_kb13475",
            "generic",
            {
                "gain": 1.9,
                "read_noise": 5,
                "saturation": None,
                "exptime": 300.045,
                "mjd": 56470.96750,
                "filter": "58",
                "pixel_scale": 0.310,
            },
        ),
        ("saao_kb13475", "saao-1m", {"filter": "I", "saturation": 65300}),
        (
            "decam_pair",
            "generic",
            {
                "gain": 3.984,
                "read_noise": 11.837,
                "saturation": 46536.1,
                "exptime": 330,
                "mjd": 58334.39133794,
                "filter": "i DECam SDSS c0003 7835.0 1470.0",
                "pixel_scale": 0.2623,
            },
        ),
        (
            "eso085_nowcs",
            "generic",
            {
                "gain": None,
                "read_noise": None,
                "saturation": None,
                "exptime": 60,
                "mjd": 2457383.7683333335 - 2400000.5,
                "filter": "Clear",
                "pixel_scale": 0.745,
            },
        ),
        (
            "streak",
            "generic",
            # The JD of this header agrees to the second with a DATE-OBS of '26/07/102'.
            {
                "gain": None,
                "exptime": 60,
                "mjd": 2452482.31709 - 2400000.5,
                "filter": "R",
                "pixel_scale": 3.04,
            },
        ),
        (
            "sep_image",
            "generic",
            # MJD-OBS is half a day off here; the log in the header says 03:04:08.
            {
                "gain": None,
                "exptime": 1200,
                "mjd": 48921 + (3 * 3600 + 4 * 60 + 8) / 86400,
                "filter": None,
                "pixel_scale": None,
            },
        ),
    ],
)
def test_real_headers_come_out_right(folder, alias, expected):
    values = header_values(real_header(folder), load_telescope(alias))

    for name, value in expected.items():
        if name == "mjd":  # JD and DATE-OBS are written to the second: 1.2e-5 d
            assert values[name] == pytest.approx(value, abs=2e-5)
        elif isinstance(value, int | float):
            assert values[name] == pytest.approx(value, rel=2e-4)
        else:
            assert values[name] == value


@pytest.mark.parametrize("folder", ["saao_kb13475", "tres1"])
def test_the_date_agrees_with_the_other_clock_of_every_real_header(folder, generic):
    for number in range(len(list((REALDATA / folder).glob("*.fit*")))):
        header = real_header(folder, number)
        other = header.get("MJD-OBS") or header["JD"] - 2400000.5
        assert header_values(header, generic)["mjd"] == pytest.approx(other, abs=2e-5)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("adu", 2.5),
        ("ADU", 2.5),
        ("count", 2.5),
        ("electron", 1.0),
        ("e-", 1.0),
        ("adu/s", 150.0),
        ("ADU s-1", 150.0),
        ("electrons / s", 60.0),
        ("e-/s", 60.0),
    ],
)
def test_gain_follows_the_unit_of_the_image(unit, expected):
    assert effective_gain(2.5, 60.0, unit) == expected


def test_gain_of_a_rate_without_an_exposure_time_is_unknown():
    assert effective_gain(2.5, None, "adu/s") is None
    assert effective_gain(2.5, None, "adu") == 2.5
