"""Injected sources beside those of the sky: what is kept, and what they are like."""

from pathlib import Path

import numpy as np
from astropy.table import Table

from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import atomic_path
from gmadet_nb.files.tables import as_floats, rows_of
from gmadet_nb.learning.domain_shift import compare_samples, describe_shift
from gmadet_nb.learning.model_files import (
    CARD,
    FILES,
    REAL,
    check_file,
    load_card,
)
from gmadet_nb.learning.populations import compare_populations, count_kept
from gmadet_nb.learning.score_table import scores_of
from gmadet_nb.learning.surroundings import add_known
from gmadet_nb.sky.catalogs import REAL_KINDS

#: What is compared, and how it is called.
SHIFT = {"snr": "S/N", "fwhm_ratio": "FWHM / FWHM of the PSF", "mag": "magnitude [mag]"}
# Fainter ones are lost to the noise: a difference there would be one of brightness.
MIN_SNR = 10.0
_LEAST = 20  # sources of the sky that a comparison takes
INJECTED = "injected sources"
_NAMES = {
    "human": "those that a person called real",
    "catalog": "known objects of the training",
    "variable": "known variables",
    "minor planet": "known minor planets",
    "transient": "transients of a catalogue",
}
_COLUMNS = {
    "candidate_id": str,
    "exposure_id": str,
    "label_origin": str,
    "snr": float,
    "mag": float,
    "fwhm_ratio": float,
    "near_galaxy": float,
    "score": float,
    "above_threshold": bool,
}


def real_table(split, scores, candidates, crossmatch, *, threshold):
    """Return what the real candidates of a training are like, and which are kept.

    Parameters
    ----------
    split, candidates, crossmatch : astropy.table.Table
        As in the run folder.
    scores : astropy.table.Table
        ``candidate_id``, ``score``: out of fold but for the test part.
    threshold : float
        On the score.

    Returns
    -------
    astropy.table.Table
        One row a used candidate with the label real: ``candidate_id``,
        ``exposure_id``, ``label_origin``, ``snr``, ``mag`` [mag], ``fwhm_ratio``,
        ``near_galaxy`` (1 or 0: injected on one, or found on one; NaN where none was
        looked for), ``score``, ``above_threshold``.
    """
    some = np.asarray(split["used"], bool) & np.asarray(split["label"] == "real")
    table = split["candidate_id", "exposure_id", "label_origin"][some]
    keys = [str(key) for key in table["candidate_id"]]
    numbers = candidates[rows_of(keys, candidates["candidate_id"])]
    for name in ("snr", "mag"):
        table[name] = as_floats(numbers[name])
    table["fwhm_ratio"] = as_floats(numbers["fwhm"]) / as_floats(numbers["psf_fwhm"])
    near = np.asarray(crossmatch["near_galaxy"], bool)
    on_galaxy = {str(key) for key in crossmatch["candidate_id"][near]}
    table["near_galaxy"] = np.where(
        np.asarray(table["label_origin"]) == "injected",
        [float(key in on_galaxy) for key in keys],
        add_known(table["candidate_id",], crossmatch)["on_galaxy"],
    )
    table["score"] = scores_of(keys, scores)
    table["above_threshold"] = table["score"] >= threshold
    return table[list(_COLUMNS)]


def write_real(folder, table):
    """Keep a table of `real_table` with its model, for nights that it will judge."""
    with atomic_path(Path(folder) / REAL) as temporary:
        table.write(temporary, format="ascii.ecsv")


def read_real(folder):
    """Read what `write_real` wrote; an empty table where a model never had one.

    Raises
    ------
    BadInputError
        If it is gone, of another model than the card beside it, or cut short.
    """
    folder = Path(folder)
    has_card = (folder / CARD).is_file()
    card = load_card(folder, advice="") if has_card else {}
    if not (folder / REAL).is_file() and REAL not in card.get(FILES, {}):
        return Table(names=list(_COLUMNS), dtype=list(_COLUMNS.values()))
    path = check_file(folder, REAL, card)
    try:
        return Table.read(path, format="ascii.ecsv")
    except ValueError as error:
        raise BadInputError(
            f"'{path}' must be the table of real candidates that 08_train wrote, and "
            f"cannot be read ({error}). Run 08_train of its run again."
        ) from error


def populations(real, found, ranked, human_labels):
    """Count what is kept of injected sources, of known transients and of others.

    Others are what a person called real, and candidates on known variables, minor
    planets and transients of a catalogue, which no person called bogus.

    Of those that were detected with an S/N above 10.

    Parameters
    ----------
    real : astropy.table.Table
        From `read_real`.
    found : astropy.table.Table
        From `gmadet_nb.learning.check_truth.find_truth`, among ``ranked``.
    ranked : astropy.table.Table
        From `gmadet_nb.learning.check_ranking.not_seen`: who was seen proves nothing.
    human_labels : astropy.table.Table
        Those of `gmadet_nb.learning.check_input.CheckInput`.

    Returns
    -------
    table : astropy.table.Table
        From `gmadet_nb.learning.populations.count_kept`, those without a source left
        out.
    words : list of str
        A sentence for each that falls behind the injected ones.
    """
    bright = real[as_floats(real["snr"]) >= MIN_SNR]
    origins = np.array([str(name).split(":")[0] for name in bright["label_origin"]])
    some = bright[origins == "injected"]
    injected = count_kept(INJECTED, some["above_threshold"], some["near_galaxy"])
    others = [_known_transients(found, ranked)]
    for origin in sorted(set(origins) - {"injected"}):
        rows = bright[origins == origin]
        if origin == "catalog":  # those of this night are counted by their kind
            rows = rows[~np.isin(rows["candidate_id"], ranked["candidate_id"])]
        name = _NAMES.get(origin, origin)
        others.append(count_kept(name, rows["above_threshold"], rows["near_galaxy"]))
    said = human_labels["candidate_id"][human_labels["label"] == "bogus"]
    bogus = (ranked["label"] == "bogus") | np.isin(ranked["candidate_id"], said)
    others += [_known_objects(ranked[~bogus], kind) for kind in REAL_KINDS]
    table, words = compare_populations(injected, others)
    return table[np.asarray(table["n"]) > 0], words


def _known_objects(ranked, kind):
    """Count the candidates on known objects of a kind, by place."""
    name = _NAMES[kind]
    if "known_kind" not in ranked.colnames:
        return count_kept(name, np.zeros(0, bool), None)
    some = (ranked["known_kind"] == kind) & (as_floats(ranked["snr"]) >= MIN_SNR)
    some &= ~np.asarray(ranked["injected"], bool)
    rows = ranked[np.asarray(some, bool)]
    return count_kept(name, rows["above_threshold"], rows["on_galaxy"])


def sky_sample(real, ranked):
    """Return the best guess at real sources of the sky that nobody injected.

    Parameters
    ----------
    real : astropy.table.Table
        From `read_real`.
    ranked : astropy.table.Table
        From `gmadet_nb.learning.check_ranking.not_seen`.

    Returns
    -------
    sample : astropy.table.Table
        Those labelled real by others than the injection, where there are 20 or more;
        else the candidates of ``ranked`` that are kept and were not injected.
    name : str
        What they are.
    """
    others = real[np.asarray(real["label_origin"]).astype(str) != "injected"]
    if len(others) >= _LEAST:
        return others, "candidates that others called real"
    kept = np.asarray(ranked["kept"], bool) & ~np.asarray(ranked["injected"], bool)
    return ranked[kept], "candidates that are kept and were not injected"


def shift(real, sample, *, name):
    """Compare injected sources with those of the sky in S/N, width and brightness.

    Returns
    -------
    injected : astropy.table.Table
        Of ``real``, the injected ones.
    table : astropy.table.Table
        From `gmadet_nb.learning.domain_shift.compare_samples`.
    words : list of str
        What is notably different.
    """
    injected = real[np.asarray(real["label_origin"]).astype(str) == "injected"]
    table = compare_samples(injected, sample, list(SHIFT))
    in_words = table.copy()
    in_words["column"] = [SHIFT[column] for column in table["column"]]
    words = describe_shift(in_words, first="Injected sources", second=name)
    for column in ("ks", "p", "delta", "median_first", "median_second"):
        table[column].format = ".3g"
    return injected, table, words


def _known_transients(found, ranked):
    """Count the known transients that were detected, by place."""
    detected = found[np.asarray(found["detected"], bool)]
    rows = rows_of(detected["candidate_id"], ranked["candidate_id"])
    snr = as_floats(ranked["snr"])[rows]
    kept = np.asarray(ranked["above_threshold"], bool)[rows]
    on_galaxy = np.asarray(detected["on_galaxy"], bool)
    bright = snr >= MIN_SNR
    return count_kept("known transients", kept[bright], on_galaxy[bright])
