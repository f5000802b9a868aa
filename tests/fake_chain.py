"""Ten small notebooks that write what the true ones write, in a second each."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from gmadet_nb.campaign.stages import TRAIN, WORKFLOWS

PARAMETERS = {
    "01_images": [
        'images_dir: str = "images"  # folder of FITS files',
        'telescope: str = "generic"  # alias of a telescope file',
        'gain: float = "auto"  # electron/adu, or auto from the header',
        "min_stars: int = 8  # stars for a PSF",
        'compute: str = "processes"  # processes or serial',
    ],
    "02_simulate": [
        "n_sources: int = 100  # injected sources per exposure",
        "mag_range: list = [14.0, 23.0]  # AB mag, bright limit first",
        "seed: int = 1  # of the draws",
    ],
    "03_detect": [
        'workflow: str = "train"  # train or apply',
        'subtraction: str = "auto"  # auto or none',
        'reference: str = "stack"  # path, best or stack',
        "detection_threshold: float = 4.0  # S/N of a candidate [sigma]",
    ],
    "04_cutouts": [
        'workflow: str = "train"  # train or apply',
        "cutout_size: int = 32  # [pixel] side of a cutout",
        "label_unmatched_as_bogus: bool = False  # as gmadet does with --false",
        "known_objects: list = []  # tables of known objects",
    ],
    "06_label": [
        "interactive: bool = True  # show the grid",
        "show_mag_range: list = []  # [mag] from one to the other",
        "show_labels: list = []  # only these",
    ],
    "08_train": [
        'network: str = "small"  # small, gmadet, otrain or vgg6',
        'initial_model: str = ""  # model folder to start from, or empty',
    ],
    "09_infer": ['model: str = ""  # folder of model.json, empty for its own'],
    "10_check_inference": [
        'workflow: str = "train"  # train or apply',
        'model: str = ""  # folder of model.json, empty for its own',
        'truth: str = ""  # table of known transients',
    ],
}

WRITE = """
from pathlib import Path
run = Path(run_dir)
for name in {writes}:
    path = run / name / "one.ecsv" if name.endswith("/") else run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{stage}")
print("{stage} has", {shown})
"""


def write_notebook(folder, stage, *cells, parameters=None):
    """Write one notebook; its code cells stand behind the parameters."""
    lines = ['run_dir: str = "run"  # folder of the run']
    lines += PARAMETERS.get(stage, []) if parameters is None else parameters
    tagged = new_code_cell("\n".join(lines), metadata={"tags": ["parameters"]})
    code = [new_code_cell(cell.strip()) for cell in cells]
    notebook = new_notebook(cells=[new_markdown_cell(f"# {stage}"), tagged, *code])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    Path(folder).mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, Path(folder) / f"{stage}.ipynb")


def writing_cell(stage, shown="run_dir"):
    """Return a cell that writes all that the stage must write, in any workflow."""
    writes = {
        name
        for stages in WORKFLOWS.values()
        for each in stages
        if each.name == stage
        for name in each.writes
    }
    return WRITE.format(writes=sorted(writes), stage=stage, shown=shown)


def write_chain(folder):
    """Write all ten notebooks into a folder."""
    for stage in TRAIN:
        write_notebook(folder, stage.name, writing_cell(stage.name))
