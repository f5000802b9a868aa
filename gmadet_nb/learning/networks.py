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


def _fill(finite):
    """Return what stands in for missing values: as many below all others as above.

    One more below, where their number is odd: see `_masked_median`.
    """
    n_before = ops.cumsum(ops.cast(ops.logical_not(finite), "float32"), axis=-1)
    odd = n_before - 2.0 * ops.floor(n_before / 2.0)
    return _HUGE * (1.0 - 2.0 * odd)


def _masked_median(values, finite, fill, count):
    """Return the median of the finite values along the last axis; 0 if none.

    The stand-ins leave the median in the middle of all values, which takes no
    sorting: the middle is the smallest of the upper half, or one of the smallest two.
    """
    n = values.shape[-1]
    # Not `partition` or `sort`: top_k exports to ONNX.
    upper = ops.top_k(ops.where(finite, values, fill), n // 2 + 1, sorted=False)[0]
    two = -ops.top_k(-upper, 2, sorted=False)[0]
    both = ops.mean(two, axis=-1, keepdims=True)
    # Of an even number of values the lower of the two is filled where one is missing.
    one = (ops.min if n % 2 else ops.max)(two, axis=-1, keepdims=True)
    odd = count - 2.0 * ops.floor(count / 2.0)
    return (odd * one + (1.0 - odd) * both) * ops.cast(count > 0, "float32")


def _arcsinh(values):
    """Return asinh, to 1e-7: ONNX Runtime takes four times as long for its own."""
    size = ops.minimum(ops.abs(values), _HUGE)
    return ops.sign(values) * ops.log(size + ops.sqrt(ops.square(size) + 1.0))


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
        # Plane by plane: the pixels of one stand together.
        planes = ops.transpose(ops.cast(inputs, "float32"), (0, 3, 1, 2))
        planes = ops.reshape(planes, (-1, 3, size * size))
        finite = ops.abs(planes) < _HUGE  # False for NaN
        # isnan itself must be the condition: any other `where` becomes a product in
        # ONNX, and NaN times 0 is NaN.
        planes = ops.where(ops.isnan(planes), 0.0, planes)
        planes = ops.clip(planes, -_HUGE, _HUGE)
        inside = ops.cast(finite, "float32")
        count = ops.sum(inside, axis=2, keepdims=True)
        fill = _fill(finite)
        level = _masked_median(planes, finite, fill, count)
        last = (slice(None), slice(2, 3))
        sigma = self._sigma(*(x[last] for x in (planes, finite, fill, count, level)))
        shift = ops.concatenate([level[:, :2], ops.zeros_like(level[:, 2:])], axis=1)
        scaled = _arcsinh((planes - shift) / sigma) * (inside / SOFTENING)
        scaled = ops.reshape(scaled, (-1, 3, size, size))
        return ops.transpose(scaled, (0, 2, 3, 1))

    def _sigma(self, plane, finite, fill, count, level):
        """Return the robust scatter of difference planes (n, 1, p), above 0."""
        mad = _masked_median(ops.abs(plane - level), finite, fill, count)
        inside = ops.cast(finite, "float32")
        n = ops.maximum(count, 1.0)
        mean = ops.sum(inside * plane, axis=2, keepdims=True) / n
        square = ops.sum(inside * ops.square(plane - mean), axis=2, keepdims=True)
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
        return ops.sum(inputs * ops.cast(weights, inputs.dtype), axis=(1, 2))

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


def small_network(x, dropout, *, blocks=((16,), (16, 16), (32, 32, 48)), strides=1):
    """Build our own: six convolutions, pooled over the whole and at the center.

    Twice the channels gain nothing that could be measured (``benchmarks.ablation``)
    and halve the speed of scoring.
    """
    for i, block in enumerate(blocks):
        if i > 0:
            x = layers.MaxPooling2D(2, padding="same")(x)
        for j, filters in enumerate(block):
            step = strides if i == j == 0 else 1
            x = _conv(x, filters, activation=None, padding="same", strides=step)
            x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
            x = layers.ReLU()(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), CenterPooling()(x)])
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return layers.Dense(1, activation="sigmoid", dtype="float32")(x)


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
    return RealColumn()(layers.Dense(2, activation="softmax", dtype="float32")(x))


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
    return RealColumn()(layers.Dense(2, activation="softmax", dtype="float32")(x))


def _vgg6(x, dropout):
    """Build braai's VGG6: no padding; its own dropout rates, whatever ``dropout``."""
    for filters, pool in ((16, 2), (32, 4)):
        x = _conv(_conv(x, filters), filters)
        x = layers.Dropout(0.25)(layers.MaxPooling2D(pool)(x))
    x = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(0.5)(x)
    return layers.Dense(1, activation="sigmoid", dtype="float32")(x)


# Name: (builder, smallest side of a cutout that leaves a pixel to its last layer).
NETWORKS = {
    "small": (small_network, 8),
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
    score = core(NoiseScaling(name="noise_scaling", dtype="float32")(raw))
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
    scaled = NoiseScaling(name="noise_scaling", dtype="float32")(raw)
    scores = [network_core(model)(scaled) for model in models]
    together = scores[0] if len(scores) == 1 else layers.Concatenate()(scores)
    return keras.Model(raw, together, name="networks_on_raw_cutouts")
