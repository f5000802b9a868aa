"""The stages of a campaign: what each reads and writes in the run folder."""

from dataclasses import dataclass, field

from gmadet_nb.campaign.parameters import nearest
from gmadet_nb.errors import BadParameterError


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One notebook in a workflow.

    Attributes
    ----------
    name : str
        Name of the notebook, such as ``03_detect``.
    reads, writes : tuple of str
        Files and folders of the run folder; a folder ends with ``/``.
    outside : tuple of str
        Parameters that name files or folders outside the run folder, or a list of
        them.
    """

    name: str
    reads: tuple = ()
    writes: tuple = field(default=())
    outside: tuple = ()


# What a person writes (labels/) counts as read, and no stage writes it. 06 shows
# the suspects of 10 first, but does not depend on them: that would be a circle.
TRAIN = (
    Stage(
        name="01_images",
        writes=("exposures.ecsv", "psf/"),
        outside=("images_dir", "telescope", "psf_source"),
    ),
    Stage(
        name="02_simulate",
        reads=("exposures.ecsv", "psf/"),
        writes=("simulated/", "simulated_objects.ecsv"),
    ),
    Stage(
        name="03_detect",
        reads=("exposures.ecsv", "psf/", "simulated/"),
        writes=("differences/", "candidates.ecsv", "subtractions.ecsv"),
        outside=("reference",),
    ),
    Stage(
        name="04_cutouts",
        reads=(
            "exposures.ecsv",
            "psf/",
            "simulated_objects.ecsv",
            "simulated/",
            "differences/",
            "candidates.ecsv",
            "subtractions.ecsv",
        ),
        writes=("cutouts.h5", "crossmatch.ecsv"),
        outside=("known_objects",),
    ),
    Stage(
        name="05_check_simulation",
        reads=(
            "simulated_objects.ecsv",
            "candidates.ecsv",
            "crossmatch.ecsv",
        ),
        writes=("completeness.ecsv",),
    ),
    Stage(
        name="06_label",
        reads=("cutouts.h5", "candidates.ecsv", "crossmatch.ecsv"),
    ),
    Stage(
        name="07_dataset",
        reads=(
            "exposures.ecsv",
            "candidates.ecsv",
            "crossmatch.ecsv",
            "cutouts.h5",
            "labels/",
        ),
        writes=("split.ecsv", "dataset/"),
    ),
    Stage(
        name="08_train",
        reads=(
            "split.ecsv",
            "exposures.ecsv",
            "candidates.ecsv",
            "crossmatch.ecsv",
            "cutouts.h5",
        ),
        writes=("model/", "out_of_fold.ecsv"),
        outside=("initial_model",),
    ),
    Stage(
        name="09_infer",
        reads=(
            "exposures.ecsv",
            "candidates.ecsv",
            "cutouts.h5",
            "model/",
        ),
        writes=("scores.ecsv",),
        outside=("model",),
    ),
    Stage(
        name="10_check_inference",
        reads=(
            "exposures.ecsv",
            "candidates.ecsv",
            "crossmatch.ecsv",
            "cutouts.h5",
            "split.ecsv",
            "model/",
            "out_of_fold.ecsv",
            "scores.ecsv",
        ),
        writes=("metrics.json", "suspects.ecsv"),
        outside=("model", "truth"),
    ),
)

_APPLY = {
    "01_images": ("exposures.ecsv", "psf/"),
    "03_detect": ("differences/", "candidates.ecsv", "subtractions.ecsv"),
    "04_cutouts": ("cutouts.h5", "crossmatch.ecsv"),
    "09_infer": ("scores.ecsv",),
    "10_check_inference": ("metrics.json", "ranked.ecsv"),
}
# Without a data set, what people say reaches the list of candidates by itself.
_APPLY_READS = {"10_check_inference": ("labels/",)}


def _apply_stages():
    """Take the stages of a new night, with the files that such a night has."""
    there = {name for writes in _APPLY.values() for name in writes}
    return tuple(
        Stage(
            name=stage.name,
            reads=tuple(name for name in stage.reads if name in there)
            + _APPLY_READS.get(stage.name, ()),
            writes=_APPLY[stage.name],
            outside=stage.outside,
        )
        for stage in TRAIN
        if stage.name in _APPLY
    )


# Cutouts from elsewhere: no stage that starts from images may run on them.
_STAMPS = TRAIN[[stage.name for stage in TRAIN].index("06_label") :]

WORKFLOWS = {"train": TRAIN, "apply": _apply_stages(), "stamps": _STAMPS}
# The model of another run needs no labels: its scores are those of a new night.
SCORE_STAMPS = (_STAMPS[0], *WORKFLOWS["apply"][-2:])


def select_stages(stages, *, first=None, last=None):
    """Return the stages from ``first`` to ``last``, both included.

    A stage may be named by its number, its name or both: ``03``, ``detect``
    and ``03_detect`` are one.

    Raises
    ------
    BadParameterError
        If a name is unknown, or the last stands before the first.
    """
    names = [stage.name for stage in stages]
    start = 0 if first is None else names.index(_stage_name(first, names))
    stop = len(names) - 1 if last is None else names.index(_stage_name(last, names))
    if stop < start:
        raise BadParameterError(
            f"--to must not stand before --from, got --from {names[start]} --to "
            f"{names[stop]}."
        )
    return stages[start : stop + 1]


def producers(stage, stages):
    """Return the names of the stages before this one that write what it reads."""
    before = stages[: [other.name for other in stages].index(stage.name)]
    return [other.name for other in before if set(other.writes) & set(stage.reads)]


def _stage_name(text, names):
    for name in names:
        if text in (name, *name.split("_", 1)):
            return name
    close = nearest(text, names)
    hint = f" The nearest is {close}." if close else ""
    raise BadParameterError(
        f"{text!r} is no stage of this workflow: {', '.join(names)}.{hint}"
    )
