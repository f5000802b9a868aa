import numpy as np
from astropy.table import Table

from gmadet_nb.files.rundir import RunDir


def test_empty_text_and_nan_come_back_as_they_were(tmp_path):
    run = RunDir(tmp_path)
    table = Table({"source_id": ["a", "", "b"], "mag": [1.0, np.nan, 2.0]})
    table["mag"].unit = "mag"
    run.write_table("crossmatch", table)
    back = run.read_table("crossmatch")

    assert list(np.asarray(back["source_id"])) == ["a", "", "b"]
    assert not back.has_masked_columns
    np.testing.assert_array_equal(back["mag"], table["mag"])
    assert back["mag"].unit == "mag"
