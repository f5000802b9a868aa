import numpy as np
import pytest

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.learning.cutouts import CutoutStore, create_store, cut


@pytest.fixture
def planes():
    y, x = np.mgrid[:50, :70].astype(np.float32)
    return x, y, 100 * y + x  # not square: swapped axes show


@pytest.mark.parametrize("size", [1, 2, 31, 32])
def test_the_nearest_pixel_stands_in_the_middle(planes, size):
    pixels, edge = cut(planes, [35.4, 34.6], [24.4, 24.4], size=size)

    assert pixels.shape == (2, size, size, 3)
    assert pixels.dtype == np.float32
    assert not edge.any()
    np.testing.assert_array_equal(pixels[:, size // 2, size // 2, 0], 35)
    np.testing.assert_array_equal(pixels[:, size // 2, size // 2, 1], 24)


def test_cutouts_follow_x_and_y(planes):
    (pixels,), _ = cut(planes, [40.0], [20.0], size=5)

    np.testing.assert_array_equal(pixels[0, :, 0], [38, 39, 40, 41, 42])
    np.testing.assert_array_equal(pixels[:, 0, 1], [18, 19, 20, 21, 22])


def test_halves_go_up_at_every_pixel(planes):
    pixels, _ = cut(planes, [10.5, 11.5], [10.5, 11.5], size=3)

    np.testing.assert_array_equal(pixels[:, 1, 1, 0], [11, 12])
    np.testing.assert_array_equal(pixels[:, 1, 1, 1], [11, 12])


@pytest.mark.parametrize(
    ("x", "y", "size", "n_nan"),
    [(0, 25, 5, 10), (69, 25, 5, 10), (35, 0, 4, 8), (35, 49, 4, 4), (0, 0, 3, 5)],
)
def test_cutouts_over_the_edge_are_padded_and_flagged(planes, x, y, size, n_nan):
    (pixels,), edge = cut(planes, [x], [y], size=size)

    assert edge.all()
    assert np.isnan(pixels[..., 2]).sum() == n_nan
    assert pixels[size // 2, size // 2, 2] == 100 * y + x


def test_a_place_off_the_image_gives_an_empty_flagged_cutout(planes):
    pixels, edge = cut(planes, [-500.0], [20.0], size=8)

    assert edge.all()
    assert np.isnan(pixels).all()


def test_planes_of_different_shapes_are_refused(planes):
    with pytest.raises(BadInputError, match="one shape"):
        cut((planes[0], planes[1].T), [1], [1], size=3)


def test_the_store_gives_back_what_was_put_in_any_order(tmp_path, rng):
    pixels = rng.normal(size=(150, 9, 9, 3)).astype(np.float32)
    pixels[3, :4] = np.nan
    names = [f"a_c{i:05d}" for i in range(150)]
    with create_store(tmp_path / "cutouts.h5", size=9) as writer:
        writer.append(names[:100], "a", pixels[:100])
        writer.append([], "none", pixels[:0])
        writer.append(names[100:], "b", pixels[100:])

    with CutoutStore(tmp_path / "cutouts.h5") as store:
        assert (len(store), store.size, store.candidate_ids) == (150, 9, names)
        assert store.exposure_ids == ["a"] * 100 + ["b"] * 50
        for rows in ([149, 0, 3, 3, 70], [5], [], rng.permutation(150)):
            asked = [names[i] for i in rows]
            np.testing.assert_array_equal(store.read(asked), pixels[list(rows)])
        batches = list(store.iterate(64))
        assert [len(ids) for ids, _ in batches] == [64, 64, 22]
        np.testing.assert_array_equal(np.concatenate([p for _, p in batches]), pixels)
        with pytest.raises(BadInputError, match="'nobody'"):
            store.read(["nobody"])


def test_a_store_that_fails_half_way_leaves_the_old_one(tmp_path, rng):
    path = tmp_path / "cutouts.h5"
    pixels = rng.normal(size=(2, 5, 5, 3))
    with create_store(path, size=5) as writer:
        writer.append(["old_1", "old_2"], "e", pixels)

    with (
        pytest.raises(BadInputError, match="in the store already"),
        create_store(path, size=5) as writer,
    ):
        [writer.append(["new"], "e", pixels[:1]) for _ in range(2)]

    assert CutoutStore(path).candidate_ids == ["old_1", "old_2"]
    assert sorted(tmp_path.iterdir()) == [path]


def test_bad_stores_and_sizes_are_refused(tmp_path, rng):
    with pytest.raises(BadInputError, match="Run 04_cutouts first"):
        CutoutStore(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not a store")
    with pytest.raises(BadInputError, match="not a whole cutout store"):
        CutoutStore(tmp_path / "text.h5")
    with (
        pytest.raises(BadInputError, match=r"shape \(1, 5, 5, 3\)"),
        create_store(tmp_path / "a.h5", size=5) as writer,
    ):
        writer.append(["x"], "e", rng.normal(size=(1, 4, 4, 3)))
    with (
        pytest.raises(BadParameterError, match="cutout size"),
        create_store(tmp_path / "a.h5", size=0),
    ):
        pass
