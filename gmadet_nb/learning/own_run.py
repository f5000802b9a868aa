"""What is known of a model from its own run, and goes with it to other nights."""

import json
from pathlib import Path

_NAMES = ("training_hash", "created")  # of the card: which model it is


def name_of(card):
    """Return what tells a model from others: dict of str."""
    return {name: str(card.get(name)) for name in _NAMES}


def warnings_of_model(card, folder, *, own):
    """Return what was warned of in a model's training and in the check of its run.

    The latter stands in the ``metrics.json`` of the run folder that the model is in,
    and counts where that was written of this model.

    Parameters
    ----------
    card : dict
        The model's.
    folder : pathlib.Path
        Where the model is.
    own : bool
        Whether the run that asks is the model's own: then its check is not repeated.

    Returns
    -------
    list of str
    """
    trained = [f"In training: {text}" for text in card.get("warnings", [])]
    if own:
        return trained
    path = Path(folder).resolve().parent / "metrics.json"
    metrics = _read(path)
    if metrics.get("model") != name_of(card):
        return [
            *trained,
            "What the check of its own run warned of is not known: there is no "
            f"'{path}' of this model. Run 10_check_inference there, and leave the "
            "model in its run folder.",
        ]
    # What begins with "Model" is of that run's scores, or of the training.
    its_own = [text for text in metrics["warnings"] if not text.startswith("Model: ")]
    return trained + [f"Its own run warned: {text}" for text in its_own]


def _read(path):
    """Return what a file holds; nothing where it is missing or no whole one."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
