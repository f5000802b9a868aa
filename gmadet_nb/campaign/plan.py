"""A campaign file turned into what each notebook is given, checked beforehand."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from gmadet_nb.campaign.limits import check_limits
from gmadet_nb.campaign.parameters import (
    check_values,
    nearest,
    parse_assignments,
    read_campaign,
    read_schema,
)
from gmadet_nb.campaign.stages import WORKFLOWS
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.fits_files import find_images
from gmadet_nb.files.rundir import RunDir, atomic_path
from gmadet_nb.files.telescopes import load_telescope

REFERENCE_CHOICES = ("stack", "best")
# What `gmadet-nb new` could not find out.
_OPEN_LINE = re.compile(r"^# (\w+): \?", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign with all parameters known.

    Attributes
    ----------
    source : str
        The campaign file.
    workflow : str
        ``train`` or ``apply``.
    stages : tuple
        `Stage` of the workflow, in order.
    schemas : dict
        Parameters of each notebook, by notebook name.
    parameters : dict
        Values that each notebook is given, by notebook name.
    run : RunDir
        The run folder.
    notebooks : Path
        Folder of the notebooks.
    """

    source: str
    workflow: str
    stages: tuple
    schemas: dict
    parameters: dict
    run: RunDir
    notebooks: Path

    def notebook(self, name):
        """Return the path of a stage's notebook."""
        return self.notebooks / f"{name}.ipynb"

    def values(self):
        """Return `Parameter` and value of each name, in the order of the stages."""
        found = {}
        for stage in self.stages:
            for name, value in self.parameters[stage.name].items():
                found.setdefault(name, (self.schemas[stage.name][name], value))
        return found


def default_notebooks():
    """Return the folder of the notebooks beside the package."""
    return Path(__file__).resolve().parents[2] / "notebooks"


def open_campaign(path, *, assignments=(), notebooks=None):
    """Read a campaign and check every name and type in it.

    Parameters
    ----------
    path : str or Path
        The campaign file, or a run folder, whose ``params.yaml`` is then read;
        that folder is the run folder, wherever it was when the file was written.
    assignments : list of str
        ``name=value`` texts that go before the file.
    notebooks : str or Path, optional
        Folder of the notebooks; that of the repository by default.

    Returns
    -------
    Campaign

    Raises
    ------
    BadParameterError
        If a name, a type or a value is wrong.
    """
    moved = {"run_dir": _short(Path(path))} if Path(path).is_dir() else {}
    path = RunDir(path).params_path if Path(path).is_dir() else Path(path)
    folder = Path(notebooks) if notebooks else default_notebooks()
    schemas = {}
    for name in [stage.name for stage in WORKFLOWS["train"]]:
        if not (folder / f"{name}.ipynb").is_file():
            raise BadParameterError(
                f"There is no {name}.ipynb in {folder}. Say where the notebooks are "
                "with --notebooks."
            )
        schemas[name] = read_schema(folder / f"{name}.ipynb")
    values = check_values(read_campaign(path), schemas, source=str(path)) | moved
    assigned = check_values(parse_assignments(assignments), schemas, source="--set")
    check_limits(assigned, source="--set")
    values |= assigned
    parameters = {
        name: {key: values.get(key, item.default) for key, item in schema.items()}
        for name, schema in schemas.items()
    }
    everything = {}
    for given in parameters.values():
        everything |= given
    check_limits(everything, source=str(path))
    workflow = everything["workflow"]
    return Campaign(
        source=_short(path),
        workflow=workflow,
        stages=WORKFLOWS[workflow],
        schemas={stage.name: schemas[stage.name] for stage in WORKFLOWS[workflow]},
        parameters={
            stage.name: parameters[stage.name] for stage in WORKFLOWS[workflow]
        },
        run=RunDir(everything["run_dir"]),
        notebooks=folder,
    )


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
        if "model" in given:
            size = campaign.parameters["04_cutouts"].get("cutout_size")
            _check_model(given["model"], campaign.workflow, size)
        if given.get("truth") and not Path(given["truth"]).is_file():
            raise BadInputError(
                f"truth must be a table, and {given['truth']!r} is no file."
            )
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
            name in schema and campaign.parameters[stage][name] == schema[name].default
            for stage, schema in campaign.schemas.items()
        )
    ]
    if open_lines:
        raise BadParameterError(
            f"{campaign.source}: the line '# {open_lines[0]}: ?' asks for what no "
            "header states, and is not filled in. Give a value and take the # away, or "
            "delete the line."
        )


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
    differ = there.get("workflow", here["workflow"]) != here["workflow"] or (
        Path(there.get("images_dir", here["images_dir"])).resolve()
        != Path(here["images_dir"]).resolve()
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


def write_resolved(campaign):
    """Write ``params.yaml`` of the run: every parameter, as this run has it."""
    lines = [
        f"# Every parameter of this run, which was started from {campaign.source}."
    ]
    for name, (parameter, value) in campaign.values().items():
        # JSON is YAML: text is quoted, so that no reader takes it for a number.
        lines.append(f"{name}: {json.dumps(value)}  # {parameter.help}")
    with atomic_path(campaign.run.params_path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _check_reference(value, parameters):
    """Refuse a reference that is neither a choice nor a file."""
    if parameters["03_detect"].get("subtraction") == "none":
        return
    if value not in REFERENCE_CHOICES and not Path(value).is_file():
        raise BadInputError(
            f"reference must be one of {', '.join(REFERENCE_CHOICES)} or a FITS file, "
            f"and {value!r} is no file.{_did_you_mean(value, REFERENCE_CHOICES)}"
        )


def _check_model(value, workflow, cutout_size):
    """Refuse a folder without a model, or with one of cutouts of another size."""
    if not value and workflow == "apply":
        raise BadInputError(
            "model must name the model folder of an earlier run (such as "
            "runs/demo/model) in the apply workflow, and is not set."
        )
    if not value:
        return
    if not Path(value).is_dir():
        raise BadInputError(f"model must be a folder, and {value!r} is none.")
    card = Path(value) / "model.json"
    if not card.is_file():
        raise BadInputError(
            f"model must be a folder with model.json in it, and {value!r} has none. "
            "Run the train workflow first."
        )
    try:
        size = json.loads(card.read_text(encoding="utf-8"))["input"]["size"]
    except (ValueError, KeyError, TypeError):
        raise BadInputError(
            f"'{card}' must state the size of the model's cutouts and does not. Run "
            "08_train again."
        ) from None
    if cutout_size is not None and size != cutout_size:
        raise BadInputError(
            f"cutout_size must be that of the model: {value!r} was trained on cutouts "
            f"of {size} pixels, and cutout_size is {cutout_size}. Set cutout_size to "
            f"{size}, or take another model."
        )


def _short(path):
    """Return a path relative to the current folder where it lies in it."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _did_you_mean(value, choices):
    close = nearest(value, choices)
    return f" Did you mean {close!r}?" if close else ""
