import os

import fake_chain
import pytest

from gmadet_nb.campaign.manifest import Manifest, fingerprint
from gmadet_nb.campaign.source_code import SourceCode
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import RunDir


@pytest.fixture
def package(tmp_path):
    """Write a small package in which `shapes` imports `numbers` and `far` does not."""
    root = tmp_path / "gmadet_nb"
    (root / "views").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "views/__init__.py").write_text("")
    (root / "numbers.py").write_text("one = 1\n")
    (root / "views/shapes.py").write_text(
        "def square():\n    from gmadet_nb.numbers import one\n    return one\n"
    )
    (root / "views/far.py").write_text("two = 2\n")
    fake_chain.write_notebook(
        tmp_path, "01_images", "from gmadet_nb.views import shapes", "shapes.square()"
    )
    return root


def marks(package):
    """Read the hashes afresh, as a new command does."""
    return SourceCode(package.parent).of_notebook(package.parent / "01_images.ipynb")


def test_what_a_notebook_imports_is_followed_to_its_end(package):
    assert list(marks(package)) == [
        "gmadet_nb",
        "gmadet_nb.numbers",
        "gmadet_nb.views",
        "gmadet_nb.views.shapes",
        "its code",
    ]


@pytest.mark.parametrize(
    ("module", "changed"),
    [("numbers", ["gmadet_nb.numbers"]), ("views/far", [])],
)
def test_a_changed_module_counts_where_it_is_imported(package, module, changed):
    before = marks(package)
    (package / f"{module}.py").write_text("one = 11\n")
    after = marks(package)
    assert [name for name in before if before[name] != after[name]] == changed


def test_a_comment_in_a_module_does_not_count(package):
    before = marks(package)
    (package / "numbers.py").write_text("# the first\none  =  1\n")
    assert marks(package) == before


def test_the_values_of_the_parameters_cell_are_no_code(package):
    before = marks(package)
    fake_chain.write_notebook(
        package.parent,
        "01_images",
        "from gmadet_nb.views import shapes",
        "shapes.square()",
        parameters=["n: int = 3  # another"],
    )
    assert marks(package) == before


def test_a_cell_with_a_magic_is_taken_as_text(tmp_path):
    fake_chain.write_notebook(tmp_path, "01_images", "%matplotlib inline\nx = 1")
    assert list(SourceCode().of_notebook(tmp_path / "01_images.ipynb")) == ["its code"]


def test_tables_are_known_by_content_and_pixels_by_size_and_time(tmp_path):
    table, pixels = tmp_path / "a.ecsv", tmp_path / "a.fits"
    table.write_text("one")
    pixels.write_text("one")
    before = fingerprint(table), fingerprint(pixels)
    os.utime(table, (1, 1))
    os.utime(pixels, (1, 1))
    assert fingerprint(table) == before[0]
    assert fingerprint(pixels) != before[1]
    assert fingerprint(pixels, whole=True) == fingerprint(table, whole=True)
    table.write_text("two")
    assert fingerprint(table) != before[0]


def test_a_folder_is_known_by_its_files(tmp_path):
    folder = tmp_path / "psf"
    assert fingerprint(folder) == "absent"
    folder.mkdir()
    assert fingerprint(folder) == "absent"
    (folder / "a.ecsv").write_text("one")
    before = fingerprint(folder)
    (folder / ".b.ecsv").write_text("a temporary file")
    assert fingerprint(folder) == before
    (folder / "a.ecsv").rename(folder / "b.ecsv")
    assert fingerprint(folder) != before


def test_a_forgotten_stage_is_gone_from_the_disk(tmp_path):
    run = RunDir(tmp_path)
    manifest = Manifest(run)
    manifest.record("02_simulate", {"seconds": 2.0})
    manifest.record("01_images", {"seconds": 1.0})
    assert list(Manifest(run).entries) == ["01_images", "02_simulate"]
    manifest.forget("01_images")
    manifest.forget("05_check_simulation")
    assert list(Manifest(run).entries) == ["02_simulate"]


def test_a_broken_manifest_is_told(tmp_path):
    (tmp_path / "manifest.json").write_text('{"stages": {')
    with pytest.raises(BadInputError, match=r"manifest\.json must hold JSON"):
        Manifest(RunDir(tmp_path))
