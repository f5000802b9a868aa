"""Every file of one run, named in one place, and writes that are whole or absent."""

import json
import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path

from astropy.table import Table

from gmadet_nb.errors import BadInputError

# Which notebook writes each table: the error for a missing one names it.
TABLES = {
    "exposures": "01_images",
    "simulated_objects": "02_simulate",
    "candidates": "03_detect",
    "subtractions": "03_detect",
    "negatives": "03_detect",
    "streaks": "03_detect",
    "crossmatch": "04_cutouts",
    "completeness": "05_check_simulation",
    "split": "07_dataset",
    "out_of_fold": "08_train",
    "scores": "09_infer",
    "ranked": "10_check_inference",
    "suspects": "10_check_inference",
}
# How params.yaml of a run made by `gmadet-nb stamps` says so.
_OF_STAMPS = re.compile(
    r"^(# Made of the stamps of|workflow: *\"?stamps)", re.MULTILINE
)
# Names the folder in which relative paths of a notebook start.
PROJECT_VARIABLE = "GMADET_NB_PROJECT"
#: Marks a panel in which there was nothing to draw, and the file of such a figure.
EMPTY = "nothing to draw"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*")


def check_name(name, *, what="name"):
    """Return ``name`` if it can be a file name inside the run folder.

    Raises
    ------
    BadInputError
        If it holds anything but letters, digits and ``._+-``, or starts with a dot.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise BadInputError(
            f"A {what} must be letters, digits and '._+-' and not start with a dot, "
            f"got {name!r}. Rename it."
        )
    return name


def start_from_project():
    """Leave the folder ``notebooks/`` for the project folder above it.

    JupyterLab starts a kernel beside its notebook, papermill where it was called.
    After this call a relative path means the same in both. Who runs a copy of a
    notebook from elsewhere names the project folder in `PROJECT_VARIABLE`.
    """
    if os.environ.get(PROJECT_VARIABLE):
        os.chdir(os.environ[PROJECT_VARIABLE])
        return
    here = Path.cwd()
    if here.name == "notebooks" and (here.parent / "params").is_dir():
        os.chdir(here.parent)


@contextmanager
def atomic_path(path):
    """Give a temporary path beside ``path`` that takes its place on success.

    A reader sees the old file or the new one, never a part. On an error the
    temporary file is removed and ``path`` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class RunDir:
    """The folder of one run: where each of its files stands.

    Parameters
    ----------
    path : str or Path
        The folder; made when something is first written into it.
    """

    def __init__(self, path):
        self.root = Path(path)

    def __repr__(self):
        return f"RunDir({str(self.root)!r})"

    def table_path(self, name):
        """Return the path of the table ``name``."""
        if name not in TABLES:
            raise BadInputError(
                f"A table of the run must be one of {', '.join(TABLES)}, got {name!r}."
            )
        return self.root / f"{name}.ecsv"

    def has_table(self, name):
        """Say whether the table ``name`` has been written."""
        return self.table_path(name).is_file()

    def read_table(self, name):
        """Read a table of the run.

        Raises
        ------
        BadInputError
            If the notebook that writes it has not run.
        """
        path = self.table_path(name)
        if not path.is_file():
            raise BadInputError(
                f"{path} must be there to go on, and is not. "
                f"Run {TABLES[name]} on this run folder first."
            )
        return _fill_masked(Table.read(path, format="ascii.ecsv"))

    def write_table(self, name, table):
        """Write a table of the run as ECSV."""
        with atomic_path(self.table_path(name)) as temporary:
            table.write(temporary, format="ascii.ecsv")

    def psf_path(self, exposure_id):
        """Return the path of an exposure's PSF."""
        return self._fits("psf", exposure_id)

    def prepared_path(self, exposure_id):
        """Return the path of an exposure without cosmic rays or background."""
        return self._fits("prepared", exposure_id)

    def simulated_path(self, exposure_id):
        """Return the path of an exposure with injected sources."""
        return self._fits("simulated", exposure_id)

    def difference_path(self, exposure_id):
        """Return the path of an exposure's difference image."""
        return self._fits("differences", exposure_id)

    def _fits(self, folder, exposure_id):
        name = check_name(str(exposure_id), what="exposure_id")
        return self.root / folder / f"{name}.fits"

    @property
    def of_stamps(self):
        """Whether the run was made of stamps from elsewhere, not of exposures."""
        path = self.params_path
        return path.is_file() and bool(_OF_STAMPS.search(path.read_text("utf-8")))

    def for_exposures(self):
        """Return the run, to be filled from exposures.

        Raises
        ------
        BadInputError
            If it was made of stamps, which would be replaced.
        """
        if self.of_stamps:
            raise BadInputError(
                f"{self.root} holds stamps from elsewhere (`gmadet-nb stamps`), which "
                "a run from images would replace. Set another run_dir; to label these "
                f"stamps: gmadet-nb label {self.root}."
            )
        return self

    @property
    def cutouts_path(self):
        """Path of the cutout store."""
        return self.root / "cutouts.h5"

    @property
    def labels_dir(self):
        """Folder of the label logs, one file a person."""
        return self.root / "labels"

    def label_path(self, labeler):
        """Return the path of one person's label log."""
        return self.labels_dir / f"{check_name(labeler, what='labeler')}.jsonl"

    @property
    def dataset_dir(self):
        """Folder of the data set made for training."""
        return self.root / "dataset"

    @property
    def model_dir(self):
        """Folder of the trained model and its card."""
        return self.root / "model"

    @property
    def figures_dir(self):
        """Folder of the figures."""
        return self.root / "figures"

    @property
    def notebooks_dir(self):
        """Folder of the executed notebooks."""
        return self.root / "notebooks"

    @property
    def manifest_path(self):
        """Path of the record of what ran with what."""
        return self.root / "manifest.json"

    @property
    def params_path(self):
        """Path of the resolved parameters."""
        return self.root / "params.yaml"

    @property
    def report_path(self):
        """Path of the one-page report."""
        return self.root / "report.html"

    @property
    def metrics_path(self):
        """Path of the figures of merit."""
        return self.root / "metrics.json"

    def save_figure(self, fig, name):
        """Write a figure to ``figures/<name>.png``.

        The file of one whose panels all say that there was nothing to draw says so,
        too, in its comment: the report leaves it out.
        """
        path = self.figures_dir / f"{check_name(name, what='figure name')}.png"
        empty = all(ax.get_gid() == EMPTY for ax in fig.axes)
        metadata = {"Comment": EMPTY} if empty else {}
        with atomic_path(path) as temporary:
            fig.savefig(temporary, dpi=110, bbox_inches="tight", metadata=metadata)

    def write_json(self, path, content):
        """Write ``content`` as JSON; NaN becomes null, which every reader takes."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(_plain(content), indent=2) + "\n")

    def read_json(self, path):
        """Read a JSON file of the run.

        Raises
        ------
        BadInputError
            If it is absent or is not JSON.
        """
        try:
            return json.loads(Path(path).read_text())
        except FileNotFoundError:
            raise BadInputError(
                f"{path} must be there to go on, and is not. "
                "Run the notebook that writes it first."
            ) from None
        except ValueError as error:
            raise BadInputError(
                f"{path} must hold JSON, but: {error}. Remove it and run again."
            ) from error


def _fill_masked(table):
    """Undo what reading ECSV does to an empty text: it comes back masked, as "0"."""
    for name in table.colnames:
        column = table[name]
        if not hasattr(column, "filled"):
            continue
        if column.dtype.kind in "US":
            table[name] = column.filled("")
        elif column.dtype.kind == "f":
            table[name] = column.filled(float("nan"))
    return table


def _plain(value):
    """Turn numpy numbers, paths and NaN into what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
