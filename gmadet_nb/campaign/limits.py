"""What values the parameters may have, checked before a kernel starts."""

from itertools import pairwise

from gmadet_nb.campaign.compute import COMPUTE_CHOICES
from gmadet_nb.campaign.parameters import nearest
from gmadet_nb.campaign.stages import WORKFLOWS
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.rundir import check_name
from gmadet_nb.learning.label_filter import LABEL_WORDS, ORIGINS

# Those of networks.NETWORKS, whose import takes Keras and with it seconds.
NETWORKS = ("small", "gmadet", "otrain", "vgg6")

CHOICES = {
    "workflow": tuple(WORKFLOWS),
    "mag_distribution": ("uniform", "limit"),
    "subtraction": ("auto", "zogy", "kernel", "none"),
    "network": NETWORKS,
    "learning_curve_of": ("none", "trees", "network"),
    "precision": ("float32", "mixed_float16", "mixed_bfloat16"),
    "label_order": (
        "auto",
        "unlabeled",
        "score",
        "threshold",
        "disagreement",
        "suspects",
        "query",
        "random",
    ),
    "known_are": ("left out", "real"),
    "compute": COMPUTE_CHOICES,
}


def _rises(values):
    return all(low < high for low, high in pairwise(values))


def _are_texts(values):
    return all(isinstance(item, str) for item in values)


def _words(words):
    """Return the limit of a list that may hold these words alone."""
    known = ", ".join(word or '""' for word in words)
    return f"a list of {known}", lambda values: set(values) <= set(words)


_ONE_OR_MORE = ("1 or more", lambda value: value >= 1)
_ABOVE_0 = ("> 0", lambda value: value > 0)
_0_OR_MORE = ("0 or more", lambda value: value >= 0)
_SHARE = ("in [0, 1)", lambda value: 0 <= value < 1)
_DEGREE = ("in 0 to 4", lambda value: 0 <= value <= 4)

# name: (what must hold, whether it does)
LIMITS = {
    "gain": _ABOVE_0,
    "reference_gain": _ABOVE_0,
    "read_noise": _0_OR_MORE,
    "saturation": _ABOVE_0,
    "psf_degree": _DEGREE,
    "max_elongation": ("> 1", lambda value: value > 1),
    "min_stars": _ONE_OR_MORE,
    "background_box": ("8 or more", lambda value: value >= 8),
    "n_sources": _ONE_OR_MORE,
    "near_galaxy_fraction": ("in [0, 1]", lambda value: 0 <= value <= 1),
    "min_separation": _ABOVE_0,
    "seed": _0_OR_MORE,
    "n_stack": _ONE_OR_MORE,
    "kernel_degree": _DEGREE,
    "detection_threshold": _ABOVE_0,
    "cutout_size": ("8 or more", lambda value: value >= 8),
    "match_radius": _ABOVE_0,
    "known_objects": ("a list of paths, as texts", _are_texts),
    "mjd_tolerance": _0_OR_MORE,
    "n_mag_bins": _ONE_OR_MORE,
    "repeat_fraction": ("in [0, 0.5]", lambda value: 0 <= value <= 0.5),
    "grid_rows": _ONE_OR_MORE,
    "grid_columns": _ONE_OR_MORE,
    "bogus_fraction": _SHARE,
    "calibration_fraction": _SHARE,
    "test_fraction": _SHARE,
    "validation_fraction": _SHARE,
    "max_shift": _0_OR_MORE,
    "human_weight": _ABOVE_0,
    "unmatched_weight": _ABOVE_0,
    "catalog_weight": _ABOVE_0,
    "n_folds": ("2 or more", lambda value: value >= 2),
    "epochs": _ONE_OR_MORE,
    "batch_size": _ONE_OR_MORE,
    "dropout": _SHARE,
    "patience": _ONE_OR_MORE,
    "target_fpr": ("in (0, 1)", lambda value: 0 < value < 1),
    "inference_batch": _ONE_OR_MORE,
    "bogus_per_real": _ABOVE_0,
    "n_worst": _0_OR_MORE,
    "n_explained": _0_OR_MORE,
    "fwhm_ratio_min": _0_OR_MORE,
    "mag_range": (
        "two rising numbers",
        lambda value: len(value) == 2 and value[0] < value[1],
    ),
    "snr_range": (
        "empty, or two rising numbers > 0",
        lambda value: not value or (len(value) == 2 and 0 < value[0] < value[1]),
    ),
    "mag_bins": ("rising numbers", _rises),
    "show_exposures": ("a list of exposure ids, as texts", _are_texts),
    "show_mag_range": (
        "empty, or two numbers",
        lambda value: not value or (len(value) == 2 and not _are_texts(value)),
    ),
    "show_labels": _words(LABEL_WORDS),
    "show_origins": _words(ORIGINS),
    "score_bins": (
        "rising numbers within [0, 1]",
        lambda value: _rises(value) and all(0 <= item <= 1 for item in value),
    ),
}


def check_limits(values, *, source):
    """Refuse values of the right type with which no notebook can do anything.

    Parameters
    ----------
    values : dict
        Value by name, of the types that the notebooks want; "auto" is let
        through. Not all names need be there.
    source : str
        Where the values came from, for the message.

    Raises
    ------
    BadParameterError
        If a value is outside its limits, is none of its choices, or does not
        go with another.
    """
    for name, value in values.items():
        if name in CHOICES and value not in CHOICES[name]:
            close = nearest(value, CHOICES[name])
            hint = f" Did you mean {close!r}?" if close else ""
            raise BadParameterError(
                f"{source}: {name} must be one of {', '.join(CHOICES[name])}, got "
                f"{value!r}.{hint}"
            )
        if name in LIMITS and value != "auto":
            wanted, holds = LIMITS[name]
            if not holds(value):
                raise BadParameterError(
                    f"{source}: {name} must be {wanted}, got {value}."
                )
    _check_together(values, source)
    try:
        if values.get("labeler"):
            check_name(values["labeler"], what="labeler")
    except BadInputError as error:
        raise BadParameterError(f"{source}: {error}") from error


def _check_together(values, source):
    """Refuse values that do not go with each other."""
    low, high = values.get("fwhm_ratio_min"), values.get("fwhm_ratio_max")
    if None not in (low, high) and not low < high:
        raise BadParameterError(
            f"{source}: fwhm_ratio_min must be below fwhm_ratio_max, got {low} and "
            f"{high}."
        )
    names = ("calibration_fraction", "test_fraction")
    held_out = sum(values.get(name, 0) for name in names)
    if not held_out < 1:
        raise BadParameterError(
            f"{source}: {' and '.join(names)} must be below 1 together, so that some "
            f"are left for training, got {held_out:g}."
        )
