import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn

from gmadet_nb.files.tables import as_floats


def test_masked_values_become_nan_and_the_unit_goes():
    column = MaskedColumn([1, 2, 3], mask=[False, True, False], unit=u.mag)
    values = as_floats(column)

    np.testing.assert_array_equal(values, [1.0, np.nan, 3.0])
    assert getattr(values, "unit", None) is None
    assert values.dtype == float
