import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn

from gmadet_nb.files.tables import as_floats, rows_of


def test_masked_values_become_nan_and_the_unit_goes():
    column = MaskedColumn([1, 2, 3], mask=[False, True, False], unit=u.mag)
    values = as_floats(column)

    np.testing.assert_array_equal(values, [1.0, np.nan, 3.0])
    assert getattr(values, "unit", None) is None
    assert values.dtype == float


def test_rows_are_found_by_their_key_and_never_by_order():
    names = np.array(["b", "a", "c"])
    np.testing.assert_array_equal(rows_of(["a", "c", "a"], names), [1, 2, 1])
    np.testing.assert_array_equal(rows_of([], names), np.zeros(0, int))
    np.testing.assert_array_equal(rows_of(["x", "b"], names, absent=-1), [-1, 0])
    with pytest.raises(KeyError, match="x"):
        rows_of(["x", "b"], names)
