"""All that 10_check_inference found out about trust, as ``metrics.json`` holds it."""


def summarize_trust(
    *,
    merit,
    merit_of,
    rates,
    rates_of,
    stages,
    fits,
    shortcuts,
    populations,
    shift,
    sample_name,
    card,
):
    """Return the figures of the trust section, as plain rows.

    Parameters
    ----------
    merit : dict
        From `gmadet_nb.learning.check_rates.at_threshold`.
    merit_of, rates_of : str
        Which candidates ``merit`` and ``rates`` are of, as
        `gmadet_nb.learning.check_rates.at_new_places` says it.
    rates : astropy.table.Table
        From `gmadet_nb.learning.check_rates.rates_by_quantity`.
    stages, fits : astropy.table.Table
        From `gmadet_nb.learning.check_stages`.
    shortcuts : gmadet_nb.learning.check_shortcuts.ShortcutTests
    populations, shift : astropy.table.Table
        From `gmadet_nb.learning.check_populations`.
    sample_name : str
        What ``shift`` held the injected sources against.
    card : dict
        The model's card, with the learning curve of its training.

    Returns
    -------
    dict
    """
    metrics = card.get("metrics") or {}
    return {
        "merit": merit | {"candidates": merit_of},
        "rates": {"candidates": rates_of, "bins": as_rows(rates)},
        "completeness": {"bins": as_rows(stages), "fits": as_rows(fits)},
        "shortcuts": {
            "overall_auc": shortcuts.overall_auc,
            "auc_by_snr": as_rows(shortcuts.by_snr),
            "score_against_snr": shortcuts.correlation,
            "kept_when_changed": shortcuts.kept,
            "higher_as_is": shortcuts.higher,
            "other_half": as_rows(shortcuts.halves),
            "snr_coverage": shortcuts.coverage,
            "untested": shortcuts.untested,
        },
        "populations": as_rows(populations),
        "shift": {"against": sample_name, "columns": as_rows(shift)},
        "learning_curve": metrics.get("learning_curve", {}),
    }


def as_rows(table):
    """Return a table as a list of dicts."""
    return [dict(row) for row in table]


def gather(warnings):
    """Return all warnings as one list, each with what it is about.

    Parameters
    ----------
    warnings : dict
        What they are about -> list of str.

    Returns
    -------
    list of str
    """
    return [f"{about}: {text}" for about, words in warnings.items() for text in words]
