import numpy as np
import pytest

from gmadet_nb.learning.places import near_other_part


@pytest.mark.parametrize(("square", "near"), [(False, False), (True, True)])
def test_only_cutouts_share_pixels_where_a_circle_does_not_reach(square, near):
    # Two squares of side 32 whose middles are 30 apart in x and in y overlap, though
    # the middles are 42 apart.
    places = np.array([[100.0, 100.0], [130.0, 130.0]])
    part = np.array(["training", "test"])
    found = near_other_part(places, part, margin=32, square=square)
    assert list(found) == [False, near]


def test_the_diagonal_is_enough_whichever_way_the_sky_is_turned():
    side = 32
    angle = np.linspace(0, 2 * np.pi, 73)
    turned = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    reach = np.sqrt(2) * side
    part = np.array(["training"] + ["test"] * len(angle))
    for away in (reach - 0.1, reach + 0.1):
        places = np.concatenate([[[0.0, 0.0]], away * turned])
        near = near_other_part(places, part, margin=reach)
        assert near[1:].all() == near[1:].any() == (away < reach)
