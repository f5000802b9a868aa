"""06_label as a page of its own: the grid, without the rest of the notebook."""

import os
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

_STAGE = "06_label"
# Of these are the cells that make the grid; the others are for who reads the notebook.
_TAGS = {"parameters", "injected-parameters", "grid"}
#: Name of the template in ``voila/templates`` beside this module.
TEMPLATE = "gmadet_nb"


def write_page(campaign, labeler, folder):
    """Write the cells that make the grid, with a run's parameters.

    Parameters
    ----------
    campaign : gmadet_nb.campaign.plan.Campaign
    labeler : str
    folder : pathlib.Path

    Returns
    -------
    pathlib.Path
        The notebook that is to be served.
    """
    parameters = dict(campaign.parameters[_STAGE])
    parameters |= {"run_dir": str(campaign.run.root.resolve()), "interactive": True}
    parameters["labeler"] = labeler
    notebook = load_notebook_node(str(campaign.notebook(_STAGE)))
    filled = parameterize_notebook(notebook, parameters, comment="Parameters")
    filled.cells = [
        cell for cell in filled.cells if _TAGS & set(cell.metadata.get("tags", []))
    ]
    filled.metadata["title"] = f"Labels of {campaign.run.root.name}"
    page = folder / f"{_STAGE}.ipynb"
    nbformat.write(filled, page)
    return page


def offer_template():
    """Let Voila, which looks in Jupyter's folders, find the template of the page."""
    folders = [str(Path(__file__).parent), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, folders))
