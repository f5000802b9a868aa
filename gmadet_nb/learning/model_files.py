"""The files of a model folder: what belongs together, and whether it is whole."""

import hashlib
import json
import zipfile
from pathlib import Path

from gmadet_nb.errors import BadInputError

CARD, KERAS, ONNX, TREES = "model.json", "model.keras", "model.onnx", "trees.onnx"
REAL = "real.ecsv"
CHECKPOINTS = "folds"  # folder in the model folder
FILES = "files"  # what the card calls the hashes


def hash_files(folder):
    """Return the hashes of a model's files, for its card.

    Parameters
    ----------
    folder : pathlib.Path
        The model folder.

    Returns
    -------
    dict of str
        SHA-256 of each file that is there, by name.
    """
    paths = [Path(folder) / name for name in (KERAS, ONNX, TREES, REAL)]
    return {path.name: hash_file(path) for path in paths if path.is_file()}


def check_file(folder, name, card):
    """Refuse a file of a model folder that is not the one its card was written for.

    Parameters
    ----------
    folder : str or pathlib.Path
        The model folder.
    name : str
        Name of the file.
    card : dict
        The model card; that of an earlier version has no hashes, and any file that
        is whole is taken.

    Returns
    -------
    pathlib.Path
        Where the file is.

    Raises
    ------
    BadInputError
        If it is absent, of another model, or cut short.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise BadInputError(
            f"There is no {name} in '{folder}'. Copy that model folder again as a "
            "whole, or run 08_train of its run again."
        )
    wanted = card.get(FILES, {}).get(name)
    if wanted and hash_file(path) != wanted:
        raise BadInputError(
            f"'{path}' must be the file that {CARD} beside it was written for, and is "
            "of another model, or cut short or changed. Copy that model folder again "
            "as a whole, or run 08_train of its run again."
        )
    if not wanted and name == KERAS and not zipfile.is_zipfile(path):
        raise BadInputError(
            f"'{path}' cannot be loaded: it is no whole Keras file. Copy it again, or "
            "run 08_train of its run again."
        )
    return path


def load_card(folder, *, advice):
    """Read the card of a model folder, whatever it holds.

    Parameters
    ----------
    folder : str or pathlib.Path
        The model folder.
    advice : str
        What to do where there is no model at all.

    Returns
    -------
    dict

    Raises
    ------
    BadInputError
        If there is no card, or it is no readable JSON.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        parts = (KERAS, ONNX, TREES, CHECKPOINTS)
        if any((path.parent / name).exists() for name in parts):
            advice = (
                "08_train writes it last and was interrupted there, or has not ended "
                "yet: start it again."
            )
        raise BadInputError(f"There is no {CARD} in '{folder}'. {advice}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(
            f"'{path}' must hold JSON, and is no readable JSON ({error}): it was cut "
            "short or changed. Copy it again, or run 08_train of its run again."
        ) from error
    if not isinstance(card, dict):
        raise BadInputError(f"'{path}' must hold a model card, and is none.")
    return card


def check_network(folder, card, network):
    """Refuse to start a network from the weights of another one.

    Parameters
    ----------
    folder : str or pathlib.Path
        The model folder that ``initial_model`` names.
    card : dict
        Its card.
    network : str
        Name of the network to be trained.
    """
    its = card.get("network", network)
    if its != network:
        raise BadInputError(
            f"initial_model must be of the same network: '{folder}' is of {its!r}, "
            f"network is {network!r}. Set network to {its!r}."
        )


def hash_file(path):
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
