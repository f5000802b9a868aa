"""What must hold before a campaign starts: its paths, and whose the run folder is."""

import re
from pathlib import Path

from gmadet_nb.campaign.parameters import nearest, read_campaign
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.fits_files import find_images
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.files.telescopes import load_telescope
from gmadet_nb.learning.model_files import (
    CARD,
    FILES,
    KERAS,
    ONNX,
    REAL,
    TREES,
    check_file,
    check_network,
    load_card,
)
from gmadet_nb.sky.catalogs import read_known

REFERENCE_CHOICES = ("stack", "best")
# What `gmadet-nb new` could not find out.
_OPEN_LINE = re.compile(r"^# (\w+): \?", re.MULTILINE)


def open_run(path):
    """Return a run folder that is one.

    Raises
    ------
    BadParameterError
        If there is no ``params.yaml`` in it.
    """
    run = RunDir(path)
    if not run.params_path.is_file():
        raise BadParameterError(
            f"{path} is no run folder: it has no {run.params_path.name}."
        )
    return run


def check_paths(campaign, stages):
    """Check that what the stages read from outside the run folder is there.

    Raises
    ------
    BadParameterError
        If a folder or file that a parameter names is absent, or the campaign file
        still asks for something.
    """
    _refuse_open_lines(campaign)
    given = {}
    for stage in stages:
        given |= {
            name: campaign.parameters[stage.name].get(name, "")
            for name in stage.outside
        }
    try:
        if "images_dir" in given:
            find_images(given["images_dir"])
        if "telescope" in given:
            load_telescope(given["telescope"])
        if "reference" in given:
            _check_reference(given["reference"], campaign.parameters)
        source = given.get("psf_source", "image")
        if source != "image" and not Path(source).exists():
            raise BadInputError(
                "psf_source must be 'image', or a PSFEx model or a folder of them, and "
                f"{source!r} is not there."
            )
        size = campaign.parameters["04_cutouts"].get("cutout_size")
        if "model" in given:
            _check_model(given["model"], campaign.workflow, size)
        if initial := given.get("initial_model"):
            _check_initial(initial, size, campaign.parameters["08_train"]["network"])
        if given.get("truth") and not Path(given["truth"]).is_file():
            raise BadInputError(
                f"truth must be a table, and {given['truth']!r} is no file."
            )
        read_known(given.get("known_objects") or [])
    except BadInputError as error:
        raise BadParameterError(f"{campaign.source}: {error}") from error


def _refuse_open_lines(campaign):
    """Refuse a campaign file with a question that `gmadet-nb new` left in it."""
    path = Path(campaign.source)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    # One that --set answers has another value than the default.
    open_lines = [
        name
        for name in _OPEN_LINE.findall(text)
        if any(
            name in campaign.schemas[stage.name]
            and campaign.parameters[stage.name][name]
            == campaign.schemas[stage.name][name].default
            for stage in campaign.stages
        )
    ]
    if open_lines:
        raise BadParameterError(
            f"{campaign.source}: the line '# {open_lines[0]}: ?' asks for what no "
            "header states, and is not filled in. Give a value and take the # away, or "
            "delete the line."
        )


def check_stamps(campaign):
    """Check that stamps from elsewhere are not replaced, and are there to work on.

    Raises
    ------
    BadParameterError
        If the run folder was made of stamps and the campaign starts from images, or
        the other way round.
    """
    run = campaign.run
    if campaign.workflow == "stamps" and not run.of_stamps:
        raise BadParameterError(
            f"{campaign.source}: workflow stamps wants a run folder that was made of "
            f"stamps, and {run.root} is none. Make one first: gmadet-nb stamps FILE "
            f"{run.root}."
        )
    if campaign.workflow != "stamps":
        try:
            run.for_exposures()
        except BadInputError as error:
            raise BadParameterError(f"{campaign.source}: {error}") from error


def check_same_run(campaign):
    """Check that the run folder is empty or holds a run of the same campaign.

    Raises
    ------
    BadParameterError
        If it was run by another workflow or on another folder of images.
    """
    if not campaign.run.params_path.is_file():
        return
    there = read_campaign(campaign.run.params_path)
    here = {name: value for name, (_, value) in campaign.values().items()}
    differ = there.get("workflow", campaign.workflow) != campaign.workflow or (
        "images_dir" in there
        and "images_dir" in here
        and Path(there["images_dir"]).resolve() != Path(here["images_dir"]).resolve()
    )
    if differ:
        was, now = (
            f"workflow {some.get('workflow')!r} on images_dir "
            f"{some.get('images_dir')!r}"
            for some in (there, here)
        )
        raise BadParameterError(
            f"{campaign.source}: {campaign.run.root} holds a run of {was}, which "
            f"{now} would overwrite. Set another run_dir, or --force to overwrite it."
        )


def _check_reference(value, parameters):
    """Refuse a reference that is neither a choice nor a file."""
    if parameters["03_detect"].get("subtraction") == "none":
        return
    if value not in REFERENCE_CHOICES and not Path(value).is_file():
        raise BadInputError(
            f"reference must be one of {', '.join(REFERENCE_CHOICES)} or a FITS file, "
            f"and {value!r} is no file.{_did_you_mean(value, REFERENCE_CHOICES)}"
        )


def _check_model(value, workflow, cutout_size, *, name="model"):
    """Return the card of a model folder that is whole and of cutouts of this size."""
    if not value and workflow == "apply":
        raise BadInputError(
            "model must name the model folder of an earlier run (such as "
            "runs/demo/model) in the apply workflow, and is not set."
        )
    if not value:
        return {}
    if not Path(value).is_dir():
        raise BadInputError(f"{name} must be a folder, and {value!r} is none.")
    try:
        card = load_card(value, advice="Run the train workflow first.")
        for file in {ONNX, TREES, REAL} & set(card.get(FILES, {})):
            check_file(value, file, card)
        size = card["input"]["size"]
    except BadInputError as error:
        raise BadInputError(f"{name} must be a whole model folder. {error}") from None
    except (KeyError, TypeError):
        raise BadInputError(
            f"'{Path(value) / CARD}' must state the size of the model's cutouts and "
            "does not. Run 08_train again."
        ) from None
    if cutout_size is not None and size != cutout_size:
        raise BadInputError(
            f"cutout_size must be that of {name}: {value!r} was trained on cutouts "
            f"of {size} pixels, and cutout_size is {cutout_size}. Set cutout_size to "
            f"{size}, or take another model."
        )
    return card


def _check_initial(value, cutout_size, network):
    """Refuse a model that this network cannot start from."""
    card = _check_model(value, "", cutout_size, name="initial_model")
    check_network(value, card, network)
    check_file(value, KERAS, card)


def _did_you_mean(value, choices):
    close = nearest(value, choices)
    return f" Did you mean {close!r}?" if close else ""
