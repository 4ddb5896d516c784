"""Networks that name the emotion of a voice by its mel spectrogram."""

from __future__ import annotations

import keras
from keras import layers, ops

from mien.contract import LOG_MEL, SPEECH_LABELS
from training.blocks import conv_bn_relu, logits


def crnn(dropout: float) -> keras.Model:
    """Convolutions that shorten both axes, a gated recurrent layer in both directions, and attention over its steps.

    Args:
        dropout: share of the attended features that is dropped while training.
    """
    inputs = keras.Input(LOG_MEL.shape, name=LOG_MEL.name)
    x = layers.Rescaling(1 / 20, offset=2.0)(layers.Reshape((*LOG_MEL.shape, 1))(inputs))
    for filters in (16, 32, 64, 96):
        x = conv_bn_relu(x, filters)
        x = layers.MaxPooling2D()(x)
    steps, bands, filters = x.shape[1:]
    x = layers.Reshape((steps, bands * filters))(x)
    # Unrolled: the few steps become plain operators, which every runtime has.
    x = layers.Bidirectional(layers.GRU(48, return_sequences=True, unroll=True))(x)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(48, activation="tanh")(x)))
    x = ops.sum(x * weights, axis=1)
    return keras.Model(inputs, logits(layers.Dropout(dropout)(x), len(SPEECH_LABELS)))
