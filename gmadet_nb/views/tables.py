"""Tables as a person reads them: few rows, few digits."""


def preview(table, *names, n_rows=5):
    """Copy the head of a table with five digits a number, to look at.

    The table itself keeps all digits, in memory and on disk.

    Parameters
    ----------
    table : astropy.table.Table
    *names : str
        Columns to show; all where none is named.
    n_rows : int or None
        None shows all rows.

    Returns
    -------
    shown : astropy.table.Table
    """
    shown = (table[list(names)] if names else table)[:n_rows].copy()
    for name in shown.colnames:
        if shown[name].dtype.kind == "f":
            shown[name].info.format = ".5g"
    return shown
