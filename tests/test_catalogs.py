import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from gmadet_nb.errors import BadInputError
from gmadet_nb.sky.catalogs import read_known

FORMATS = {"a.ecsv": "ascii.ecsv", "a.csv": "ascii.csv", "a.vot": "votable"}


def write(tmp_path, table, name="a.ecsv"):
    path = tmp_path / name
    table.write(path, format=FORMATS.get(name, "ascii.csv"))
    return path


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats_give_the_same_table(tmp_path, name):
    table = Table({"name": ["V1", "2020 AB"], "ra": [10.5, 359.9], "dec": [-3.0, 80]})
    table["kind"] = ["variable", "minor planet"]
    table["mjd"] = MaskedColumn([0.0, 61113.05], mask=[True, False])
    known = read_known([write(tmp_path, table, name)])

    assert list(known["name"]) == ["V1", "2020 AB"]
    assert list(known["kind"]) == ["variable", "minor planet"]
    assert known["ra"] == pytest.approx([10.5, 359.9])
    assert known["ra"].unit == u.deg
    assert known["radius"].unit == u.arcsec
    assert np.isnan(known["mjd"][0])
    assert known["mjd"][1] == pytest.approx(61113.05)
    assert np.isnan(known["radius"]).all()


def test_positions_alone_are_enough_and_tables_are_put_together(tmp_path):
    first = write(tmp_path, Table({"RA": [-10.0], "Dec": [1.0]}))
    second = Table({"ra": [1.0], "dec": [2.0], "kind": ["Asteroid"], "mjd": [6e4]})
    known = read_known([first, write(tmp_path, second, "b.csv")])

    assert list(known["ra"]) == [350, 1]
    assert list(known["kind"]) == ["unknown", "minor planet"]


def test_units_of_a_table_are_kept(tmp_path):
    table = Table({"ra": [2.0] * u.hourangle, "dec": [0.5] * u.rad})
    table["radius"] = [0.5] * u.arcmin
    known = read_known([write(tmp_path, table)])

    assert known["ra"][0] == pytest.approx(30)
    assert known["dec"][0] == pytest.approx(np.degrees(0.5))
    assert known["radius"][0] == pytest.approx(30)


def test_rows_without_a_place_or_a_time_are_counted(tmp_path):
    table = Table({"ra": [1.0, np.nan, 3.0], "dec": [1.0, 2.0, 3.0]})
    table["kind"] = ["star", "star", "minor planet"]
    known = read_known([write(tmp_path, table)])

    assert list(known["ra"]) == [1]
    assert known.meta == {"n_no_place": 1, "n_no_time": 1}


def test_no_table_and_an_empty_one_know_nothing(tmp_path):
    empty = write(tmp_path, Table(names=("ra", "dec"), dtype=(float, float)))
    for known in (read_known([]), read_known([empty])):
        assert len(known) == 0
        assert known.colnames == ["name", "kind", "ra", "dec", "mjd", "radius"]


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"x": [1.0], "dec": [1.0]}, "must have columns ra and dec .* lacks ra"),
        ({"ra": ["10:00:00"], "dec": [1.0]}, "ra must be .* Write decimal degrees"),
        ({"ra": [1.0], "dec": [1.0], "mjd": ["2026-02-11"]}, "Write modified Julian"),
        ({"ra": [1.0], "dec": [1.0], "mjd": Time(["2026-02-11"])}, "Write modified"),
        ({"ra": [1.0], "dec": [91.0]}, "90 .* 1 and 91 in row 1. Correct that"),
        ({"ra": [1.0, 400.0], "dec": [0.0, 0.0]}, "must be in -180 to 360 .* row 2"),
        ({"ra": [1.0], "dec": [0.0], "radius": [-1.0]}, "got -1. Leave it empty"),
        ({"ra": [1.0], "RA": [1.0], "dec": [0.0]}, "has 2, .* Rename the others"),
        ({"ra": [1.0] * u.m, "dec": [0.0]}, "ra must be numbers"),
    ],
)
def test_what_is_no_table_of_positions_is_refused(tmp_path, columns, match):
    with pytest.raises(BadInputError, match=match):
        read_known([write(tmp_path, Table(columns))])


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.txt", "ra,dec\n1,2\n", "must end in .ecsv, .csv.* Write the table in one"),
        ("a.ecsv", "ra,dec\n1,2\n", "must be a table .* Write it again"),
        ("a.csv", "", "lacks ra and dec: it has none"),
        ("a.vot", "<html></html>", "must be a table"),
        ("b.csv", None, "is no file. Correct the path"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, text, match):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=match):
        read_known([tmp_path / name])
