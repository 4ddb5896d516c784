"""Networks that name the emotion of a voice by its mel spectrogram."""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from mien.contract import LOG_MEL, SPEECH_LABELS
from training.blocks import conv_bn_relu, logits

VOICE_DB = -45.0
"""Frames whose loudest band is below this, against the loudest of the window, are pauses."""


def crnn(dropout: float) -> keras.Model:
    """Convolutions, a gated recurrent layer in both directions and attention; beside them, statistics of the bands.

    Few recordings teach the recurrent part what comes after what; means and deviations over the voiced frames, what a
    linear classifier of speech emotion would take, carry it through where they do not.

    Args:
        dropout: share of the features that is dropped while training.
    """
    inputs = keras.Input(LOG_MEL.shape, name=LOG_MEL.name)
    scaled = layers.Rescaling(1 / 20, offset=2.0)(inputs)
    features = layers.Concatenate()([_sequence(scaled, dropout), _statistics(inputs, scaled, dropout)])
    return keras.Model(inputs, logits(layers.Dropout(dropout)(features), len(SPEECH_LABELS)))


def _sequence(scaled: KerasTensor, dropout: float) -> KerasTensor:
    x = layers.Reshape((*LOG_MEL.shape, 1))(scaled)
    x = layers.MaxPooling2D((1, 2))(conv_bn_relu(x, 16, size=5, strides=(3, 4)))
    x = layers.MaxPooling2D((2, 2))(conv_bn_relu(x, 32))
    x = layers.MaxPooling2D((2, 1))(conv_bn_relu(x, 48))
    steps, bands, filters = x.shape[1:]
    x = layers.Dropout(dropout / 2)(layers.Reshape((steps, bands * filters))(x))
    # Unrolled: the few steps become plain operators, which every runtime has.
    x = layers.Bidirectional(layers.GRU(48, return_sequences=True, unroll=True))(x)
    attention = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(48, activation="tanh")(x)))
    return ops.sum(x * attention, axis=1)


def _statistics(decibels: KerasTensor, scaled: KerasTensor, dropout: float) -> KerasTensor:
    """Mean, deviation and mean change of each band over the voiced frames, in 64 features."""
    voiced = ops.cast(ops.max(decibels, axis=2, keepdims=True) > VOICE_DB, "float32")
    count = ops.sum(voiced, axis=1) + 1.0
    mean = ops.sum(scaled * voiced, axis=1) / count
    variance = ops.sum(ops.square(scaled - ops.expand_dims(mean, 1)) * voiced, axis=1) / count
    both = voiced[:, 1:] * voiced[:, :-1]
    change = ops.sum(ops.abs(scaled[:, 1:] - scaled[:, :-1]) * both, axis=1) / (ops.sum(both, axis=1) + 1.0)
    x = layers.Concatenate()([mean, ops.sqrt(variance + 1e-4), change])
    x = layers.Dropout(dropout)(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
    return layers.Dense(64, activation="relu")(x)
