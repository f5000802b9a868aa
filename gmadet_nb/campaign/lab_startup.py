"""Start the kernels of `make lab` in the repository, where the paths begin.

JupyterLab starts a kernel in the folder of its notebook. `make lab` names this file in
PYTHONSTARTUP, which IPython runs before the first cell.
"""

import os

os.chdir(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
del os  # the names of this file would be in the notebook
