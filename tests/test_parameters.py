import fake_chain
import pytest

from gmadet_nb.campaign.parameters import (
    check_values,
    parse_assignments,
    read_campaign,
    read_schema,
)
from gmadet_nb.errors import BadParameterError


@pytest.fixture
def schemas(tmp_path):
    fake_chain.write_chain(tmp_path)
    return {path.stem: read_schema(path) for path in sorted(tmp_path.glob("*.ipynb"))}


def check(values, schemas):
    return check_values(values, schemas, source="x.yaml")


def test_the_tagged_cell_is_read_with_types_defaults_and_comments(schemas):
    gain = schemas["01_images"]["gain"]
    assert (gain.type, gain.default, gain.notebook) == ("float", "auto", "01_images")
    assert gain.help == "electron/adu, or auto from the header"
    assert gain.takes_auto
    assert list(schemas["02_simulate"]) == ["run_dir", "n_sources", "mag_range", "seed"]
    assert schemas["02_simulate"]["mag_range"].default == [14.0, 23.0]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("detection_threshold", 5, 5.0),
        ("detection_threshold", 4.5, 4.5),
        ("gain", "auto", "auto"),
        ("gain", 2, 2.0),
        ("label_unmatched_as_bogus", True, True),
        ("show_labels", ["real", ""], ["real", ""]),
        ("show_mag_range", [15, 20.5], [15, 20.5]),
        ("mag_range", [15, 20.5], [15, 20.5]),
        ("mag_range", [], []),
        ("reference", "best", "best"),
    ],
)
def test_a_value_of_the_right_type_is_taken(schemas, name, value, wanted):
    checked = check({name: value}, schemas)[name]
    assert checked == wanted
    assert type(checked) is type(wanted)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("detection_threshold", True, r"must be float, got True \(bool\)"),
        ("detection_threshold", "four", r"must be float, got 'four' \(str\)"),
        ("detection_threshold", None, "must be float, got nothing"),
        ("detection_threshold", float("nan"), "must be float, got nan"),
        ("detection_threshold", "auto", "must be float, got 'auto'"),
        ("gain", "automatic", "must be float or auto, got 'automatic'"),
        ("n_sources", 100.0, r"must be int, got 100.0 \(float\)"),
        ("n_sources", False, r"must be int, got False \(bool\)"),
        ("label_unmatched_as_bogus", "no", r"must be bool, got 'no' \(str\)"),
        ("label_unmatched_as_bogus", 1, r"must be bool, got 1 \(int\)"),
        ("mag_range", 14, r"must be a list like \[14.0, 23.0\], got 14"),
        ("mag_range", ["14", "20"], "must be a list like"),
        ("mag_range", [True, 20], "must be a list like"),
        ("show_labels", ["real", 1], r"""must be a list like \["real"\], got"""),
        ("images_dir", 12, r"must be str, got 12 \(int\)"),
    ],
)
def test_a_wrong_type_is_refused_and_says_what_was_expected(
    schemas, name, value, message
):
    with pytest.raises(BadParameterError, match=rf"x\.yaml: {name} {message}"):
        check({name: value}, schemas)


def test_an_unknown_name_is_refused_with_the_nearest_and_its_notebook(schemas):
    with pytest.raises(
        BadParameterError,
        match=r"unknown parameter 'detection_treshold'\. The nearest known name is "
        r"'detection_threshold' \(of 03_detect\)",
    ):
        check({"detection_treshold": 4}, schemas)
    with pytest.raises(BadParameterError, match="unknown parameter 'qqq'"):
        check({"qqq": 4}, schemas)


def test_the_file_is_read_as_yaml_1_2(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: 12:30:00\nb: 1e-3\nc: no\nd: 0012\ne: [g, n, y]\n")
    assert read_campaign(path) == {
        "a": "12:30:00",
        "b": 0.001,
        "c": "no",
        "d": 12,
        "e": ["g", "n", "y"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", r"line \d is no valid YAML: found duplicate key"),
        ("- seed\n- 1\n", r"must hold 'name: value' lines, got \['seed', 1\] \(list\)"),
        ("seed\n", "must hold 'name: value' lines, got 'seed'"),
        ("seed: [1\n", r"line \d is no valid YAML"),
        ("seed: !!python/object:os.system 1\n", "is no valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BadParameterError, match=message) as caught:
        read_campaign(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_refused_and_an_empty_one_sets_nothing(tmp_path):
    with pytest.raises(BadParameterError, match="no such campaign file"):
        read_campaign(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("# nothing\n")
    assert read_campaign(tmp_path / "x.yaml") == {}


def test_assignments_are_read_like_the_file():
    texts = ["seed=3", "mag_range=[14, 20]", "images_dir=a=b", "gain=auto", "x=no"]
    assert parse_assignments(texts) == {
        "seed": 3,
        "mag_range": [14, 20],
        "images_dir": "a=b",
        "gain": "auto",
        "x": "no",
    }
    with pytest.raises(BadParameterError, match="takes name=value, got 'seed'"):
        parse_assignments(["seed"])


@pytest.mark.parametrize(
    "line", ["seed = 1", "seed: int = 1 + x", "seed: tuple = (1, 2)", "import os"]
)
def test_a_line_that_is_no_typed_literal_is_refused(tmp_path, line):
    fake_chain.write_notebook(tmp_path, "02_simulate", parameters=[line])
    with pytest.raises(BadParameterError, match="each line of the parameters cell"):
        read_schema(tmp_path / "02_simulate.ipynb")
