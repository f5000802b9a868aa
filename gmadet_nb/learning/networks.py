"""The networks to choose from, and the scaling of pixels that all of them share.

Every network takes raw cutouts, (n, size, size, 3) in adu with NaN where nothing is
measured, and gives one number, the probability of being real. The scaling is a
layer inside the model, so that it cannot be forgotten or done otherwise.
"""

import os

from gmadet_nb.errors import BadParameterError

# Without this TensorFlow prints a page of remarks at import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from keras import layers, ops

INPUT_PLANES = ("science", "reference", "difference")
SOFTENING = 3.0
_HUGE = 1.0e15  # [adu] no pixel is brighter; squares of it still fit in float32
# Keras's 0.99 remembers 100 batches, a few epochs on a set of some thousand cutouts.
_MOMENTUM = 0.9


def _count(finite):
    """Return the number of True a row as (n, 1) float32."""
    return ops.sum(ops.cast(finite, "float32"), axis=1, keepdims=True)


def _masked_median(values, finite, count):
    """Return the median a row of the finite values (n, p) as (n, 1); 0 if none."""
    # top_k, not sort: it exports to ONNX, and the upper half in falling order is
    # enough, as what is not finite comes last.
    n_upper = values.shape[1] // 2 + 1
    filled = ops.where(finite, values, -_HUGE)
    upper = ops.top_k(filled, n_upper, sorted=True)[0]
    place = ops.reshape(ops.arange(n_upper, dtype="float32"), (1, n_upper))
    weight = 0.5 * (
        ops.cast(ops.equal(place, ops.floor((count - 1.0) / 2.0)), "float32")
        + ops.cast(ops.equal(place, ops.floor(count / 2.0)), "float32")
    )
    median = ops.sum(weight * upper, axis=1, keepdims=True)
    return median * ops.cast(count > 0, "float32")


@keras.saving.register_keras_serializable(package="gmadet_nb")
class NoiseScaling(layers.Layer):
    """Put cutouts in units of their own noise and compress them.

    sigma is 1.4826 times the median absolute deviation of the finite pixels of
    the difference plane (where that is 0, their standard deviation; where that
    is 0 too, or nothing is finite, 1). Science and reference lose their own
    median, the difference does not: its level is information. Then
    asinh(pixel / sigma) / 3 for all planes: linear within the noise,
    logarithmic above it. NaN and infinite pixels become 0. Turning or
    mirroring a cutout before or after the scaling is the same.
    """

    def call(self, inputs):
        """Scale (n, size, size, 3) cutouts [adu]."""
        size = inputs.shape[1]
        pixels = ops.reshape(ops.cast(inputs, "float32"), (-1, size * size, 3))
        finite = ops.abs(pixels) < _HUGE  # False for NaN
        # isnan itself must be the condition: any other `where` becomes a product in
        # ONNX, and NaN times 0 is NaN.
        pixels = ops.where(ops.isnan(pixels), 0.0, pixels)
        pixels = ops.clip(pixels, -_HUGE, _HUGE)
        sigma = self._sigma(pixels[:, :, 2], finite[:, :, 2])
        planes = []
        for i in range(3):
            plane, good = pixels[:, :, i], finite[:, :, i]
            if i < 2:
                plane = plane - _masked_median(plane, good, _count(good))
            planes.append(ops.arcsinh(plane / sigma) / SOFTENING)
        scaled = ops.stack(planes, axis=2) * ops.cast(finite, "float32")
        return ops.reshape(scaled, (-1, size, size, 3))

    def _sigma(self, plane, finite):
        """Return the robust scatter of each difference plane as (n, 1), above 0."""
        count = _count(finite)
        deviation = ops.abs(plane - _masked_median(plane, finite, count))
        mad = _masked_median(deviation, finite, count)
        inside = ops.cast(finite, "float32")
        n = ops.maximum(count, 1.0)
        mean = ops.sum(inside * plane, axis=1, keepdims=True) / n
        square = ops.sum(inside * ops.square(plane - mean), axis=1, keepdims=True)
        std = ops.sqrt(square / n)
        fallback = ops.where(std > 0, std, 1.0)
        return ops.where(mad > 0, 1.4826 * mad, fallback)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape


@keras.saving.register_keras_serializable(package="gmadet_nb")
class CenterPooling(layers.Layer):
    """Average a feature map with Gaussian weights around its middle.

    A candidate stands in the middle of its cutout; a plain average forgets
    where things are. The weights' standard deviation is an eighth of the side.
    """

    def call(self, inputs):
        """Pool (n, ny, nx, channels) to (n, channels)."""
        weights = None
        for axis in (1, 2):
            n = inputs.shape[axis]
            place = (ops.arange(n, dtype="float32") - (n - 1) / 2) / max(n / 8, 0.5)
            along = ops.exp(-0.5 * ops.square(place))
            shape = (1, n, 1, 1) if axis == 1 else (1, 1, n, 1)
            along = ops.reshape(along / ops.sum(along), shape)
            weights = along if weights is None else weights * along
        return ops.sum(inputs * weights, axis=(1, 2))

    def compute_output_shape(self, input_shape):
        """Return (n, channels)."""
        return (input_shape[0], input_shape[-1])


@keras.saving.register_keras_serializable(package="gmadet_nb")
class RealColumn(layers.Layer):
    """Take P(real), the second of two softmax outputs, as (n, 1)."""

    def call(self, inputs):
        """Take the second column."""
        return inputs[:, 1:2]

    def compute_output_shape(self, input_shape):
        """Return (n, 1)."""
        return (input_shape[0], 1)


def _conv(x, filters, activation="relu", **kwargs):
    """Add a 3 x 3 convolution."""
    return layers.Conv2D(filters, 3, activation=activation, **kwargs)(x)


def _small(x, dropout):
    """Build our own: six convolutions, pooled over the whole and at the center."""
    for block in ((16,), (32, 32), (64, 64, 96)):
        if block[0] > 16:
            x = layers.MaxPooling2D(2, padding="same")(x)
        for filters in block:
            x = _conv(x, filters, activation=None, padding="same")
            x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
            x = layers.ReLU()(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), CenterPooling()(x)])
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return layers.Dense(1, activation="sigmoid")(x)


def _gmadet(x, dropout):
    """Build gmadet's network; its two softmax outputs stay inside."""
    pools = (layers.AveragePooling2D, *[layers.MaxPooling2D] * 3)
    for filters, pool in zip((64, 128, 256, 256), pools, strict=True):
        x = _conv(x, filters, activation="elu", padding="same")
        x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
        x = pool(2)(x)
        x = layers.Dropout(dropout)(x)
    x = layers.Flatten()(x)
    for units in (512, 32):
        x = layers.Dense(units, activation="elu")(x)
        x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
        x = layers.Dropout(dropout)(x)
    return RealColumn()(layers.Dense(2, activation="softmax")(x))


def _otrain(x, dropout):
    """Build O'TRAIN's network; its two softmax outputs stay inside."""
    x = _conv(_conv(x, 16, padding="same"), 32, padding="same")
    x = layers.Dropout(dropout)(layers.AveragePooling2D(2)(x))
    x = _conv(x, 64, padding="same")
    x = layers.Dropout(dropout)(layers.MaxPooling2D(2)(x))
    x = _conv(_conv(x, 128, padding="same"), 256, padding="same")
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    x = layers.Dropout(dropout)(layers.Dense(512, activation="relu")(x))
    x = layers.Dense(256, activation="relu")(x)
    return RealColumn()(layers.Dense(2, activation="softmax")(x))


def _vgg6(x, dropout):
    """Build braai's VGG6: no padding; its own dropout rates, whatever ``dropout``."""
    for filters, pool in ((16, 2), (32, 4)):
        x = _conv(_conv(x, filters), filters)
        x = layers.Dropout(0.25)(layers.MaxPooling2D(pool)(x))
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(0.5)(x)
    return layers.Dense(1, activation="sigmoid")(x)


# Name: (builder, smallest side of a cutout that leaves a pixel to its last layer).
NETWORKS = {
    "small": (_small, 8),
    "gmadet": (_gmadet, 16),
    "otrain": (_otrain, 8),
    "vgg6": (_vgg6, 20),
}


def build_network(name, *, size, dropout, number=0):
    """Build an untrained network.

    All take the same input: raw cutouts, scaled inside by `NoiseScaling`. As
    published, gmadet's and O'TRAIN's took the difference alone and braai's
    divided each plane by its L2 norm; here they get what ours gets.

    Parameters
    ----------
    name : {"small", "gmadet", "otrain", "vgg6"}
        Which network.
    size : int
        Side of the cutouts [pixel].
    dropout : float
        Share of units left out in training, 0 to below 1; braai's VGG6 keeps
        its own rates.
    number : int
        Told apart by it, several can be joined.

    Returns
    -------
    keras.Model
        (n, size, size, 3) [adu] to (n, 1), P(real). Its layers are
        ``noise_scaling`` and, as one model, the network proper (see
        `network_core`).

    Raises
    ------
    BadParameterError
        If there is no such network or the size is too small for it.
    """
    if name not in NETWORKS:
        raise BadParameterError(
            f"The network must be one of {tuple(NETWORKS)}, got {name!r}."
        )
    builder, smallest = NETWORKS[name]
    if not size >= smallest:
        raise BadParameterError(
            f"The network {name!r} needs cutouts of {smallest} pixels or more, got "
            f"{size}. Set cutout_size in 04_cutouts or choose another network."
        )
    if not 0 <= dropout < 1:
        raise BadParameterError(f"Dropout must be in [0, 1), got {dropout}.")
    shape = (size, size, len(INPUT_PLANES))
    scaled = keras.Input(shape, name="scaled")
    core = keras.Model(scaled, builder(scaled, dropout), name=f"{name}_{number}")
    raw = keras.Input(shape, name="cutouts")
    score = core(NoiseScaling(name="noise_scaling")(raw))
    return keras.Model(raw, score, name=f"{name}_on_raw_cutouts")


def network_core(model):
    """Return the part of a model behind the scaling; it shares the weights."""
    return model.layers[-1]


def join_networks(models):
    """Join K trained networks into one model; it shares their weights.

    Parameters
    ----------
    models : list of keras.Model
        From `build_network`, each with a number of its own.

    Returns
    -------
    keras.Model
        (n, size, size, 3) [adu] to (n, K), P(real) of each. The pixels are scaled
        once for all.
    """
    raw = keras.Input(models[0].input_shape[1:], name="cutouts")
    scaled = NoiseScaling(name="noise_scaling")(raw)
    scores = [network_core(model)(scaled) for model in models]
    together = scores[0] if len(scores) == 1 else layers.Concatenate()(scores)
    return keras.Model(raw, together, name="networks_on_raw_cutouts")
