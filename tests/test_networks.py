import numpy as np
import pytest

from gmadet_nb.errors import BadParameterError
from gmadet_nb.learning.networks import (
    NETWORKS,
    NoiseScaling,
    build_network,
    keras,
    network_core,
)

# Keras 3.15 hands TensorFlow's variables to numpy in a way that numpy 2 deplores.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


def by_numpy(cutout):
    """Scale one cutout as the layer's text says, in float64."""
    cutout = cutout.astype(float)
    difference = cutout[..., 2][np.isfinite(cutout[..., 2])]
    sigma = 1.4826 * np.median(np.abs(difference - np.median(difference)))
    scaled = np.zeros(cutout.shape)
    for i in range(3):
        plane = cutout[..., i]
        good = np.isfinite(plane)
        level = np.median(plane[good]) if i < 2 and good.any() else 0.0
        scaled[good, i] = np.arcsinh((plane[good] - level) / sigma) / 3
    return scaled


@pytest.mark.parametrize("size", [8, 31, 32])
def test_scaling_does_what_its_text_says(rng, size):
    pixels = rng.normal(300, 7, (20, size, size, 3)).astype(np.float32)
    pixels[0, : size // 2] = np.nan
    pixels[1, 0, 0] = np.nan
    pixels[2, 1, 1] = np.inf
    pixels[3, :, :, 0] = np.nan
    pixels[4, 1:] = np.nan  # one row is left
    pixels[5, 2, 2] = 1e6
    # Of the others any number is missing, odd or even, another in each plane.
    pixels[6:][rng.random(pixels[6:].shape) < 0.3] = np.nan
    scaled = np.asarray(NoiseScaling()(pixels))

    expected = np.stack([by_numpy(cutout) for cutout in pixels])
    # Float32 holds 300 to 2e-5; over a sigma of 7 (one row: some 2) and over 3.
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


def test_scaling_gives_no_nan_whatever_comes_in(rng):
    pixels = np.zeros((9, 32, 32, 3), np.float32)
    pixels[1] = np.nan
    pixels[2] = 7.0
    pixels[3, ..., 2] = np.nan
    pixels[4], pixels[4, 3, 3] = 0.0, 9.0  # no scatter but in one pixel
    pixels[5] = np.inf
    pixels[6] = 3e38
    pixels[7], pixels[7, 5, 5] = np.nan, 4.0  # one pixel is left
    pixels[8] = 1e12 * rng.normal(size=(32, 32, 3))
    scaled = np.asarray(NoiseScaling()(pixels))

    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() < 30
    for empty in (0, 1, 5, 6):
        assert not scaled[empty].any()
    assert not scaled[2, ..., :2].any()


def test_scaling_does_not_depend_on_units_level_or_orientation(rng):
    pixels = rng.normal(0, 5, (4, 32, 32, 3)).astype(np.float32)
    scaled = np.asarray(NoiseScaling()(pixels))
    other = 40 * pixels
    other[..., :2] += 1000
    # 1000 / 200 adu of noise: float32 keeps 1e-4 / 200.
    np.testing.assert_allclose(NoiseScaling()(other), scaled, atol=1e-5)
    turned = np.rot90(pixels, axes=(1, 2))[:, :, ::-1].copy()
    expected = np.rot90(scaled, axes=(1, 2))[:, :, ::-1]
    np.testing.assert_allclose(NoiseScaling()(turned), expected, atol=1e-6)


@pytest.mark.parametrize("size", [31, 32, 63])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_any_size_and_gives_one_probability(rng, name, size):
    model = build_network(name, size=size, dropout=0.3)
    pixels = rng.normal(0, 5, (3, size, size, 3)).astype(np.float32)
    pixels[0, :10] = np.nan
    scores = np.asarray(model(pixels, training=False))

    assert scores.shape == (3, 1)
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize(
    ("name", "size", "n_parameters"),
    [
        # As published, for three planes; gmadet's 1,506,018 and O'TRAIN's are for
        # one: two planes more in the first layer are 2 x 9 x 64 and 2 x 9 x 16.
        ("vgg6", 63, 312_081),
        ("gmadet", 32, 1_506_018 + 2 * 9 * 64),
        ("otrain", 32, 2_621_826 + 2 * 9 * 16),
        ("small", 32, 39_761),
        ("small", 63, 39_761),
    ],
)
def test_networks_have_the_published_number_of_parameters(name, size, n_parameters):
    assert build_network(name, size=size, dropout=0.3).count_params() == n_parameters


def test_a_saved_model_scales_its_own_input(tmp_path, rng):
    model = build_network("small", size=16, dropout=0.0)
    pixels = rng.normal(100, 5, (4, 16, 16, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)

    np.testing.assert_array_equal(again(pixels), model(pixels))
    core = network_core(model)
    np.testing.assert_allclose(core(NoiseScaling()(pixels)), model(pixels), atol=1e-6)


def test_bad_choices_are_refused():
    with pytest.raises(BadParameterError, match="'resnet'"):
        build_network("resnet", size=32, dropout=0.3)
    with pytest.raises(BadParameterError, match="20 pixels or more, got 15"):
        build_network("vgg6", size=15, dropout=0.3)
    with pytest.raises(BadParameterError, match="Dropout"):
        build_network("small", size=32, dropout=1.0)
    for name, (_, smallest) in NETWORKS.items():
        build_network(name, size=smallest, dropout=0.0)
