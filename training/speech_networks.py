"""Networks that name the emotion of a voice by its functionals."""

from __future__ import annotations

import keras
from keras import layers, ops

from mien.contract import FUNCTIONALS, SPEECH_LABELS
from training.blocks import logits

FARTHEST = 8.0
"""What is more deviations from the mean than this is taken as this far: nothing like it was learnt from."""


def linear(dropout: float) -> keras.Model:
    """Standardized functionals, read linearly.

    With few recordings this does better on voices it has not heard than what learns its features: 0.76 against 0.65 for
    convolutions and a recurrent layer over mel bands (docs/adr/0013).

    Args:
        dropout: share of the functionals that is dropped while training.
    """
    inputs = keras.Input(FUNCTIONALS.shape, name=FUNCTIONALS.name)
    # Some functionals vary by less than a thousandth of their unit, so epsilon must not count.
    standardized = layers.BatchNormalization(momentum=0.9, epsilon=1e-9, center=False, scale=False)(inputs)
    x = layers.Dropout(dropout)(ops.clip(standardized, -FARTHEST, FARTHEST))
    return keras.Model(inputs, logits(x, len(SPEECH_LABELS)))
