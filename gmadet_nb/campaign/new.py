"""A campaign file for a folder of exposures, with what only a person can know."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gmadet_nb.campaign.describe import describe_survey
from gmadet_nb.campaign.survey import survey_folder
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.rundir import atomic_path, check_name

# A stack of the others needs this many exposures to be better than one of them.
MIN_FOR_STACK = 4
# Injected sources of the whole run that a small network needs at least.
_WANTED_SOURCES = 2000


@dataclass(frozen=True, kw_only=True)
class NewCampaign:
    """The file that was written.

    Attributes
    ----------
    path : Path
        The campaign file.
    report : list of str
        What was understood, a line each.
    missing : list of str
        Names of the parameters that must still be set, or looked at.
    """

    path: Path
    report: list
    missing: list

    def __str__(self):
        """Say what was understood, where the file is, and what is still to be done."""
        lines = [*self.report, f"wrote {self.path}"]
        if self.missing:
            lines.append(f"to be set in it, by hand: {', '.join(self.missing)}")
        return "\n".join([*lines, f"then: gmadet-nb run {self.path}"])


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line of the file; ``value`` None asks, ``is_set`` False only suggests."""

    name: str
    value: object
    reason: str
    is_set: bool = True

    def __str__(self):
        # JSON is YAML 1.2: quoted text holds whatever a path or a name contains.
        value = "?" if self.value is None else json.dumps(self.value)
        mark = "" if self.is_set and self.value is not None else "# "
        return f"{mark}{self.name}: {value}  # {_one_line(self.reason)}"


def new_campaign(name, folder, *, params_dir=Path("params"), overwrite=False):
    """Look at a folder of exposures and write a campaign file for it.

    What the headers and pixels show is filled in, each line with its reason. What
    nothing shows stands as a comment, ``# name: ?``, and is named in ``missing``.

    Parameters
    ----------
    name : str
        Of the campaign: letters, digits and ``._+-``.
    folder : str or Path
        FITS files, searched with the folders in it.
    params_dir : str or Path
        Folder of the campaign files.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    campaign : NewCampaign

    Raises
    ------
    BadParameterError
        If the name cannot be used, the file exists, or the folder does not.
    BadInputError
        If no image can be read.
    """
    try:
        path = Path(params_dir) / f"{check_name(name, what='campaign name')}.yaml"
    except BadInputError as error:
        raise BadParameterError(str(error)) from None
    if path.exists() and not overwrite:
        raise BadParameterError(
            f"{path} exists and is not overwritten. Choose another name, or remove it."
        )
    if not Path(folder).is_dir():
        raise BadParameterError(
            f"FOLDER must be a folder of FITS files, and {str(folder)!r} is none."
        )
    survey = survey_folder(folder)
    lines = _lines(name, folder, survey)
    missing = [line.name for line in lines if line.value is None or not line.is_set]
    report = describe_survey(survey, folder)
    heading = [
        f"{name}: written by 'gmadet-nb new' from the headers of the exposures.",
        *report,
        "A line '# name: ?' asks for what nothing states: fill it in, take away the #.",
        "Other parameters: the second cell of each notebook.",
    ]
    text = "\n".join(
        [f"# {_one_line(line)}" for line in heading] + [str(line) for line in lines]
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return NewCampaign(path=path, report=report, missing=missing)


def _lines(name, folder, survey):
    """Return the lines of the campaign file."""
    fwhm = f"{survey.fwhm:.1f} pixels" if math.isfinite(survey.fwhm) else "not measured"
    size = cutout_size(survey.fwhm, least=survey.telescope.cutout_size)
    n_sources = sources_per_exposure(survey.exposures, survey.fwhm)
    return [
        _Line(name="run_dir", value=f"runs/{name}", reason="all results go here"),
        _Line(name="images_dir", value=str(folder), reason="read, never written"),
        _Line(
            name="telescope",
            value=survey.telescope.alias,
            reason=survey.telescope_reason,
        ),
        *_header_lines(survey),
        _reference_line(survey),
        _Line(
            name="n_sources",
            value=n_sources,
            reason=f"injected in each of {len(survey.exposures)} exposures, so that "
            "the run has some thousand and they do not crowd each other",
        ),
        _Line(
            name="snr_range",
            value=[4.0, 100.0],
            reason="S/N of the injected sources, log-uniform: from the detection limit "
            "up; a classifier fails at an S/N that it was not trained on",
        ),
        _Line(
            name="near_galaxy_fraction",
            value=0.5,
            reason="share of them on galaxies: trained on empty sky alone, a "
            "classifier loses transients in galaxies",
        ),
        _Line(
            name="cutout_size",
            value=size,
            reason=f"[pixel] 6 FWHM or more; FWHM {fwhm}",
        ),
        _Line(
            name="label_unmatched_as_bogus",
            value=True,
            reason="detections without an injected source train as bogus, before "
            "anybody labels; set false to train on labels of 06_label only",
        ),
    ]


def _header_lines(survey):
    """Return a line for each of gain, read noise and saturation that is not known."""
    telescope, exposures = survey.telescope, survey.exposures
    units = {"gain": "electron/adu", "read_noise": "electron", "saturation": "adu"}
    found = {
        "gain": "measure it (variance against mean of two flats) or look it up",
        "read_noise": "look it up; without it the noise is taken from the pixels",
        "saturation": f"the brightest pixel is {survey.brightest:.0f}, no pile-up seen",
    }
    lines = []
    for name, unit in units.items():
        absent = ~np.isfinite(exposures[name])
        if not absent.any():
            continue
        keywords = ", ".join(getattr(telescope, f"{name}_keywords"))
        who = (
            "no exposure"
            if absent.all()
            else f"{absent.sum()} of {absent.size} exposures do not"
        )
        verb = "states" if absent.all() else "state"
        reason = f"[{unit}] {who} {verb} it under {keywords}; "
        value = None
        if name == "saturation" and survey.saturation_guess is not None:
            value = _rounded(survey.saturation_guess)
            reason += "the pixels pile up here: look, then take away the #"
        else:
            reason += found[name]
        lines.append(_Line(name=name, value=value, reason=reason, is_set=False))
    doubtful = exposures[
        (exposures["gain_source"] == "GAIN") & (exposures["gain"] > 20)
    ]
    if len(doubtful):
        lines.append(
            _Line(
                name="gain",
                value=None,
                reason=f"[electron/adu] GAIN is {doubtful['gain'][0]:g}, which may be "
                "the camera's setting and no gain: look it up",
            )
        )
    return lines


def _reference_line(survey):
    n_exposures, n_same = len(survey.exposures), survey.n_same_field
    if n_same >= MIN_FOR_STACK:
        reason = f"{n_same} of {n_exposures} exposures show one field; each is "
        reason += "subtracted from a stack of the good others"
        return _Line(name="reference", value="stack", reason=reason)
    has_wcs, targets = survey.exposures["has_wcs"], set(survey.exposures["target"])
    if n_exposures >= MIN_FOR_STACK and len(targets) == 1 and not has_wcs.any():
        reason = "no exposure has a WCS: this supposes that all show one field, and "
        reason += "aligns them by their stars"
        return _Line(name="reference", value="stack", reason=reason)
    reason = (
        f"the path of a deeper image of this field, or 'best' for the night's own: a "
        f"stack needs {MIN_FOR_STACK} exposures of one field, and there are "
        f"{n_same or n_exposures}; or set 'subtraction: none'"
    )
    return _Line(name="reference", value=None, reason=reason)


def cutout_size(fwhm, *, least):
    """Return a side of cutouts [pixel] of 6 FWHM or more, a multiple of 16."""
    wanted = max(least, 6 * fwhm if math.isfinite(fwhm) else 0)
    return int(min(max(least, 64), 16 * math.ceil(wanted / 16)))


def sources_per_exposure(exposures, fwhm):
    """Return how many sources to inject in each exposure.

    Enough for some thousand in the run, at most one in a square of 6 FWHM.
    """
    side = 6 * (fwhm if math.isfinite(fwhm) else 5.0)
    room = float(np.median(exposures["nx"] * exposures["ny"])) / side**2
    wanted = max(40, min(200, _WANTED_SOURCES / len(exposures)))
    return max(10, round(min(wanted, room) / 10) * 10)


def _one_line(text):
    return " ".join(str(text).split())


def _rounded(value):
    """Round down to three digits; a clipped value stays whole."""
    if float(value).is_integer():
        return float(value)
    step = 10 ** (math.floor(math.log10(value)) - 2)
    return float(math.floor(value / step) * step)
