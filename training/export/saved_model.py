"""A Keras model as TensorFlow SavedModel, with exactly the contract's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from mien.contract import ModelSpec

SIGNATURE = "serving_default"
"""Name of the signature that takes and gives the contract's tensors."""


def save_saved_model(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Write `model` to the directory `path`; its one signature has the tensors of `spec`."""
    module = tf.Module()
    module.variables_of_model = model.variables  # what the function reads must hang on the object that is saved
    signature = tf.TensorSpec((None, *spec.input.shape), getattr(tf, spec.input.dtype.name), name=spec.input.name)

    def serve(tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        return {spec.output.name: model(tensor, training=False)}

    tf.saved_model.save(module, str(path), signatures={SIGNATURE: tf.function(serve, [signature])})
