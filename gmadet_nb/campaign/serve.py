"""Serve 06_label as a page of its own, for a colleague without JupyterLab."""

import json
import logging
import os
import secrets
import socket
import tempfile
import threading
import webbrowser
from pathlib import Path

from traitlets.config import Config

from gmadet_nb.campaign.label_page import TEMPLATE, offer_template, write_page
from gmadet_nb.errors import BadInputError
from gmadet_nb.files.rundir import PROJECT_VARIABLE
from gmadet_nb.learning.labeling import labeler_name

_STAGE = "06_label"
_CULL, _SOON = 60, 1.0  # [s]
HOST = "127.0.0.1"
_N_PORTS = 50
# Warnings of the server that mean nothing to who labels: a pause that it sets right
# by itself, and the farewell of a page that is closed.
_NOISE = (
    "The websocket_ping_timeout",
    "'_xsrf' argument missing",
    "403 POST /voila/api/shutdown/",
)


def serve_labels(campaign, *, labeler="", port=8866, browser=True):
    """Serve the label grid of a run on this machine until it is interrupted.

    Each page that is opened has a kernel of its own, which ends with it: after a
    reload the labels are there from the log. Whoever has the address, with its token,
    can label; code sent by a page is not executed.

    Parameters
    ----------
    campaign : gmadet_nb.campaign.plan.Campaign
        Its parameters for the notebook count.
    labeler : str
        Who labels; "" for what the campaign says, or the login name.
    port : int
        The first free one from here on is taken; 0 for any.
    browser : bool
        Open the page in this machine's browser.

    Raises
    ------
    BadInputError
        If the run has no cutouts, the labeler's name cannot be a file's, or no port
        is free.
    """
    # Half a second to import: only who serves pays for it.
    from voila.app import Voila

    if not campaign.run.cutouts_path.is_file():
        raise BadInputError(
            f"There are no cutouts to label in {campaign.run.root}. Run 04_cutouts on "
            "this run folder first."
        )
    chosen = labeler or campaign.parameters[_STAGE]["labeler"]
    campaign.run.label_path(labeler_name(chosen))  # refuses what is no name
    port, token = free_port(port), secrets.token_urlsafe(24)
    for name in ("general", "application", "access"):
        logging.getLogger(f"tornado.{name}").addFilter(_is_no_noise)
    with tempfile.TemporaryDirectory(prefix="gmadet_nb") as folder:
        # The kernels inherit it: relative paths of the run mean the same there.
        os.environ[PROJECT_VARIABLE] = str(Path.cwd())
        page = write_page(campaign, chosen, Path(folder))
        offer_template()
        app = Voila(config=_settings(token, port))
        app.initialize([str(page)])
        address = f"http://{HOST}:{port}/?token={token}"
        print(
            f"Labels of {campaign.run.root} at\n    {address}\n"
            f"{_describe_choices(campaign, chosen)}\n"
            "Ctrl-C ends it; every label is on disk as soon as it is shown.",
            flush=True,
        )
        if browser:
            # Voila would open it without the token; it serves from `start` on.
            threading.Timer(_SOON, webbrowser.open, [address]).start()
        app.start()


def free_port(port):
    """Return the first port from ``port`` on that nobody listens on; 0 takes any.

    Raises
    ------
    BadInputError
        If there is none among the next ones.
    """
    ports = range(port, min(port + _N_PORTS, 65536)) if port else (0,)
    for each in ports:
        with socket.socket() as door:
            # As the server does: a port that was closed a moment ago is free.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                door.bind((HOST, each))
            except OSError:
                continue
            return door.getsockname()[1]
    raise BadInputError(
        f"One port of {ports[0]} to {ports[-1]} must be free to serve the page, none "
        "is. Name another with --port, or 0 for any."
    )


def _is_no_noise(record):
    return not any(text in record.getMessage() for text in _NOISE)


def _describe_choices(campaign, labeler):
    """Say who labels, and what of the parameters decides what is seen."""
    values = campaign.parameters[_STAGE]
    names = ["label_order", "blind"]
    names += [name for name in values if name.startswith("show_") and values[name]]
    said = [f"{name} {json.dumps(values[name])}" for name in names]
    said += [] if len(names) > 2 else ["all candidates"]
    return (
        f"{labeler_name(labeler)} labels: {', '.join(said)}.\n"
        "--set NAME=VALUE changes these, for that call only."
    )


def _settings(token, port):
    """Return Voila's settings: this machine only, with a token, without code."""
    settings = Config()
    settings.Voila.ip = HOST
    settings.Voila.port = port
    # The address is said before: another port would make it a wrong one.
    settings.Voila.port_retries = 0
    settings.Voila.token = token
    settings.Voila.open_browser = False
    settings.Voila.log_level = "ERROR"
    # Sockets of this machine; a kernel whose page is gone ends by itself.
    settings.KernelManager.transport = "ipc"
    settings.MappingKernelManager.cull_idle_timeout = 2 * _CULL
    settings.MappingKernelManager.cull_interval = _CULL
    settings.VoilaConfiguration.template = TEMPLATE
    settings.VoilaConfiguration.strip_sources = True
    settings.VoilaConfiguration.show_tracebacks = True
    settings.VoilaConfiguration.file_allowlist = [r"(?!)"]
    return settings
