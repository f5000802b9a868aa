import numpy as np

from gmadet_nb.learning.augmentation import augment


def test_augmentation_only_moves_values(rng):
    pixels = rng.normal(size=(64, 7, 7, 3)).astype(np.float32)
    before = pixels.copy()
    turned = augment(pixels, rng=rng)

    np.testing.assert_array_equal(pixels, before)
    flat = (np.sort(a.reshape(64, 49, 3), axis=1) for a in (pixels, turned))
    np.testing.assert_array_equal(*flat)
    # The three planes turn together, and all eight views occur.
    views = set()
    for a, b in zip(pixels, turned, strict=True):
        every = [np.rot90(a, k) for k in range(4)]
        every += [view[:, ::-1] for view in every]
        views |= {i for i, view in enumerate(every) if np.array_equal(view, b)}
    assert views == set(range(8))


def test_shifts_move_whole_pixels_and_bring_in_nothing(rng):
    pixels = np.zeros((400, 9, 9, 3), np.float32)
    pixels[:, 4, 4] = rng.uniform(1, 2, (400, 3))

    shifted = augment(pixels, rng=rng, max_shift=2)

    _, rows, columns, _ = np.nonzero(shifted)
    # Every place within 2 pixels occurs: each is missed once in 10^7 trials.
    assert set(zip(rows - 4, columns - 4, strict=True)) == {
        (dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)
    }
    np.testing.assert_array_equal(shifted.sum(axis=(1, 2)), pixels[:, 4, 4])


def test_what_is_shifted_out_is_lost_and_what_comes_in_is_0(rng):
    pixels = np.ones((200, 5, 5, 3), np.float32)
    lost = 25 - augment(pixels, rng=rng, max_shift=2).sum(axis=(1, 2))[:, 0]
    # Of 5 x 5 pixels, (5 - |dy|) (5 - |dx|) stay.
    kept = {(5 - dy) * (5 - dx) for dy in range(3) for dx in range(3)}
    assert set(25 - lost) <= kept
    assert lost.max() == 16
