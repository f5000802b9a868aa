import json

import pytest

from gmadet_nb.campaign.limits import CHOICES, LIMITS, NETWORKS, check_limits
from gmadet_nb.campaign.parameters import EXAMPLES, read_schema
from gmadet_nb.campaign.plan import default_notebooks
from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.label_order import ORDERS


@pytest.fixture(scope="module")
def parameters():
    """All parameters of the notebooks, by name."""
    paths = sorted(default_notebooks().glob("*.ipynb"))
    return {name: item for path in paths for name, item in read_schema(path).items()}


def test_every_name_with_limits_is_a_parameter_and_its_default_is_within(parameters):
    assert parameters.keys() >= LIMITS.keys() | CHOICES.keys()
    check_limits({n: item.default for n, item in parameters.items()}, source="x.yaml")


def test_every_number_has_limits_or_may_be_any(parameters):
    numbers = {n for n, item in parameters.items() if item.type in ("int", "float")}
    assert numbers - LIMITS.keys() == {"zero_point", "fwhm_ratio_max"}


def test_every_empty_list_has_an_example_that_is_within(parameters):
    empty = {n for n, item in parameters.items() if item.default == []}
    assert empty == EXAMPLES.keys()
    check_limits({n: json.loads(EXAMPLES[n]) for n in empty}, source="x.yaml")


def test_the_networks_and_orders_are_those_that_there_are():
    networks = pytest.importorskip("gmadet_nb.learning.networks")
    assert tuple(networks.NETWORKS) == NETWORKS
    assert CHOICES["label_order"] == ORDERS


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_sources", 0, "must be 1 or more, got 0"),
        ("epochs", 0, "must be 1 or more"),
        ("batch_size", -1, "must be 1 or more"),
        ("cutout_size", 7, "must be 8 or more, got 7"),
        ("validation_fraction", 1.0, r"must be in \[0, 1\), got 1.0"),
        ("bogus_fraction", -0.1, r"must be in \[0, 1\)"),
        ("near_galaxy_fraction", 1.1, r"must be in \[0, 1\]"),
        ("dropout", 1.0, r"must be in \[0, 1\)"),
        ("target_fpr", 0.0, r"must be in \(0, 1\), got 0.0"),
        ("target_fpr", 1.0, r"must be in \(0, 1\)"),
        ("detection_threshold", 0.0, "must be > 0"),
        ("match_radius", -1.0, "must be > 0"),
        ("min_separation", 0.0, "must be > 0"),
        ("gain", 0.0, "must be > 0"),
        ("kernel_degree", 5, "must be in 0 to 4, got 5"),
        ("psf_degree", -1, "must be in 0 to 4"),
        ("max_elongation", 1.0, "must be > 1"),
        ("mag_range", [20.0, 14.0], "must be two rising numbers"),
        ("mag_range", [], "must be two rising numbers"),
        ("snr_range", [5.0], "must be empty, or two rising numbers > 0"),
        ("snr_range", [0.0, 5.0], "must be empty, or two rising numbers > 0"),
        ("mag_bins", [18.0, 12.0], "must be rising numbers"),
        ("score_bins", [0.5, 1.5], r"must be rising numbers within \[0, 1\]"),
        ("show_labels", ["real", "reel"], r"a list of real, .*, \"\", got .*'reel'"),
        ("show_origins", ["anna"], "must be a list of human, injected"),
        ("show_mag_range", [18.0], "must be empty, or two numbers"),
        ("show_mag_range", ["a", "b"], "must be empty, or two numbers"),
        ("show_exposures", [12], "must be a list of exposure ids, as texts"),
        ("network", "smal", "must be one of small, .*, got 'smal'.* mean 'small'"),
        ("subtraction", "all", "must be one of auto, zogy, kernel, none"),
        ("label_order", "doubt", "must be one of auto, unlabeled, score, threshold"),
        ("compute", "cluster", "must be one of processes, serial"),
        ("workflow", "aply", "must be one of train, apply.* mean 'apply'"),
        ("labeler", "../ann", "A labeler must be letters"),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(name, value, message):
    with pytest.raises(BadParameterError, match=f"x.yaml: .*{message}") as caught:
        check_limits({name: value}, source="x.yaml")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fwhm_ratio_min": 4.2, "fwhm_ratio_max": 4.2}, "must be below fwhm_ratio_"),
        ({"calibration_fraction": 0.5, "test_fraction": 0.5}, "below 1 together"),
    ],
)
def test_values_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(BadParameterError, match=message):
        check_limits(values, source="x.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("psf_degree", "auto"),
        ("gain", "auto"),
        ("kernel_degree", 0),
        ("snr_range", []),
        ("near_galaxy_fraction", 1.0),
        ("labeler", ""),
        ("labeler", "ann.b"),
    ],
)
def test_a_possible_value_is_taken(name, value):
    values = {name: value}
    check_limits(values, source="x.yaml")  # raises for another

    assert values == {name: value}
