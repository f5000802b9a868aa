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
from gmadet_nb.campaign.stages import WORKFLOWS
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
    path, here = Path(path), {}
    if path.is_dir():
        here = {"run_dir": _short(path)}
        # Their params.yaml did not always say so.
        here |= {"workflow": "stamps"} if RunDir(path).of_stamps else {}
        path = RunDir(path).params_path
    folder = Path(notebooks) if notebooks else default_notebooks()
    schemas = {}
    for name in [stage.name for stage in WORKFLOWS["train"]]:
        if not (folder / f"{name}.ipynb").is_file():
            raise BadParameterError(
                f"There is no {name}.ipynb in {folder}. Say where the notebooks are "
                "with --notebooks."
            )
        schemas[name] = read_schema(folder / f"{name}.ipynb")
    values = check_values(read_campaign(path), schemas, source=str(path)) | here
    assigned = check_values(parse_assignments(assignments), schemas, source="--set")
    check_limits(assigned, source="--set")
    values |= assigned
    if values.get("workflow") == "apply":
        # Of a night to follow up the best are looked at first.
        values.setdefault("label_order", "score")
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
        schemas=schemas,
        parameters=parameters,
        run=RunDir(everything["run_dir"]),
        notebooks=folder,
    )


def write_resolved(campaign):
    """Write ``params.yaml`` of the run: every parameter, as this run has it."""
    lines = [
        f"# Every parameter of this run, which was started from {campaign.source}."
    ]
    values, stage = campaign.values(), "04_cutouts"
    # What is known of stamps, whose workflow has not this stage.
    for name in ("workflow", "cutout_size"):
        known = campaign.schemas[stage][name], campaign.parameters[stage][name]
        values.setdefault(name, known)
    # A new night can be labelled, though its workflow has not this stage either.
    for name, value in campaign.parameters["06_label"].items():
        values.setdefault(name, (campaign.schemas["06_label"][name], value))
    for name, (parameter, value) in values.items():
        # JSON is YAML: text is quoted, so that no reader takes it for a number.
        lines.append(f"{name}: {json.dumps(value)}  # {parameter.help}")
    with atomic_path(campaign.run.params_path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _short(path):
    """Return a path relative to the current folder where it lies in it."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
