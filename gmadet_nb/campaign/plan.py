"""A campaign file turned into what each notebook is given, checked beforehand."""

import json
from dataclasses import dataclass
from pathlib import Path

from gmadet_nb.campaign.limits import check_limits
from gmadet_nb.campaign.parameters import (
    check_values,
    parse_assignments,
    read_campaign,
    read_schema,
)
from gmadet_nb.campaign.stages import SCORE_STAMPS, WORKFLOWS
from gmadet_nb.errors import BadParameterError
from gmadet_nb.files.rundir import RunDir, atomic_path


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign with all parameters known.

    Attributes
    ----------
    source : str
        The campaign file.
    workflow : str
        ``train``, ``apply`` or ``stamps``.
    stages : tuple
        `Stage` of the workflow, in order.
    schemas : dict
        Parameters of each notebook, by notebook name, those of notebooks that are
        no stage of the workflow, too.
    parameters : dict
        Values that each notebook is given, likewise.
    run : RunDir
        The run folder.
    notebooks : Path
        Folder of the notebooks.
    kept : dict
        Values that ``params.yaml`` is to hold in place of ``parameters``, likewise:
        where it is the campaign file itself, those of ``--set`` are for one call.
    """

    source: str
    workflow: str
    stages: tuple
    schemas: dict
    parameters: dict
    run: RunDir
    notebooks: Path
    kept: dict

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
    path, here = Path(path), {}
    if path.is_dir():
        here = {"run_dir": _short(path)}
        # Their params.yaml did not always say so.
        here |= {"workflow": "stamps"} if RunDir(path).of_stamps else {}
        path = RunDir(path).params_path
    folder = Path(notebooks) if notebooks else default_notebooks()
    schemas = _read_schemas(folder)
    values = check_values(read_campaign(path), schemas, source=str(path)) | here
    assigned = check_values(parse_assignments(assignments), schemas, source="--set")
    check_limits(assigned, source="--set")
    parameters = _fill(schemas, values | assigned)
    everything = {}
    for given in parameters.values():
        everything |= given
    check_limits(everything, source=str(path))
    workflow, run = everything["workflow"], RunDir(everything["run_dir"])
    own_file = path.resolve() == run.params_path.resolve()
    return Campaign(
        source=_short(path),
        workflow=workflow,
        stages=_choose_stages(workflow, run, parameters),
        schemas=schemas,
        parameters=parameters,
        run=run,
        notebooks=folder,
        kept=_fill(schemas, values) if own_file else parameters,
    )


def _read_schemas(folder):
    """Read the parameters of all notebooks of a folder."""
    schemas = {}
    for name in [stage.name for stage in WORKFLOWS["train"]]:
        if not (folder / f"{name}.ipynb").is_file():
            raise BadParameterError(
                f"There is no {name}.ipynb in {folder}. Say where the notebooks are "
                "with --notebooks."
            )
        schemas[name] = read_schema(folder / f"{name}.ipynb")
    return schemas


def _fill(schemas, values):
    """Return what each notebook is given: the values, and defaults for the rest."""
    if values.get("workflow") == "apply":
        # Of a night to follow up the best are looked at first.
        values = {"label_order": "score"} | values
    return {
        name: {key: values.get(key, item.default) for key, item in schema.items()}
        for name, schema in schemas.items()
    }


def _choose_stages(workflow, run, parameters):
    """Return the stages; stamps that another run's model scores train no own one."""
    model, last = parameters["09_infer"].get("model"), parameters["10_check_inference"]
    elsewhere = model and Path(model).resolve() != run.model_dir.resolve()
    if workflow == "stamps" and elsewhere:
        # To the last notebook they are candidates to rank, as a new night is.
        last["workflow"] = "apply"
        return SCORE_STAMPS
    return WORKFLOWS[workflow]


def write_resolved(campaign):
    """Write ``params.yaml`` of the run: every parameter, as this run has it."""
    lines = [
        f"# Every parameter of this run, which was started from {campaign.source}."
    ]
    values = {}
    # Whatever the stages of this call; and a new night can be labelled, though its
    # workflow has not this stage.
    for stage in [each.name for each in WORKFLOWS[campaign.workflow]] + ["06_label"]:
        for name, value in campaign.kept[stage].items():
            values.setdefault(name, (campaign.schemas[stage][name], value))
    # What is known of stamps, whose workflow has not this stage. Their last notebook
    # may be given another workflow.
    for name in ("workflow", "cutout_size"):
        values[name] = (
            campaign.schemas["04_cutouts"][name],
            campaign.kept["04_cutouts"][name],
        )
    for name, (parameter, value) in values.items():
        # JSON is YAML: text is quoted, so that no reader takes it for a number.
        lines.append(f"{name}: {json.dumps(value)}  # {parameter.help}")
    with atomic_path(campaign.run.params_path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _short(path):
    """Return a path relative to the current folder where it lies in it."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
