"""A network with its augmentation and its teachers, as one Keras model whose `fit` works under every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import KerasTensor, ops

from training import networks, preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from training.config import Config


class Learner(keras.Model):  # type: ignore[misc]  # Keras carries no types
    """Trains `network` on batches ``({"example": (N, …), "label": (N,) int}, label)``.

    Labels are an input too because mixup blends them, and the teachers see what the network sees.

    Args:
        network: gives logits. A batch's grey faces are changed at their own size, then enlarged on the device to what
            the network takes, and to what each teacher takes: all see one view. Functionals of voices are taken
            as they are.
        config: augmentation, loss and teachers.
        class_weights: weight of each class in the loss; None weighs them alike.
    """

    def __init__(self, network: keras.Model, config: Config, class_weights: NDArray[np.float32] | None = None) -> None:
        super().__init__(name="learner")
        self.network = network
        self.augmentation = config.augmentation.layer(config.seed)
        self.distillation = config.distillation
        self.teachers = _load_teachers(config)
        self.label_smoothing = config.label_smoothing
        self.class_weights = class_weights
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.classes = network.output_shape[-1]

    def call(self, inputs: dict[str, KerasTensor], training: bool = False) -> dict[str, KerasTensor]:
        """Logits of the (augmented) examples, with the targets that belong to them."""
        targets = ops.one_hot(ops.cast(inputs["label"], "int32"), self.classes, dtype="float32")
        if training and self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / self.classes
        view = inputs["example"]
        if self.augmentation is not None:
            view, targets = self.augmentation(view, targets, training=training)
        outputs = {"logits": _logits(self.network, view, training=training), "targets": targets}
        if training and self.distillation:
            temperature = self.distillation.temperature
            soft = [ops.softmax(_logits(teacher, view, training=False) / temperature) for teacher in self.teachers]
            outputs["teachers"] = ops.stop_gradient(sum(soft) / len(soft))
        return outputs

    def compute_loss(
        self,
        x: object = None,
        y: object = None,
        y_pred: dict[str, KerasTensor] | None = None,
        sample_weight: object = None,
        training: bool = True,
    ) -> KerasTensor:
        """Cross-entropy with the targets, and with the teachers' probabilities where there are teachers."""
        del x, y, sample_weight, training
        outputs = y_pred or {}
        logits, targets = outputs["logits"], outputs["targets"]
        loss = -ops.sum(targets * ops.log_softmax(logits), axis=-1)
        if self.class_weights is not None:
            loss *= ops.sum(targets * self.class_weights, axis=-1)
        loss = ops.mean(loss)
        if self.distillation and "teachers" in outputs:
            temperature, weight = self.distillation.temperature, self.distillation.weight
            soft = -ops.sum(outputs["teachers"] * ops.log_softmax(logits / temperature), axis=-1)
            # The gradient of the softened part shrinks with the square of the temperature.
            loss = (1 - weight) * loss + weight * temperature**2 * ops.mean(soft)
        return loss

    def compute_metrics(
        self, x: object, y: KerasTensor, y_pred: dict[str, KerasTensor], sample_weight: object = None
    ) -> dict[str, Any]:
        """Loss so far and accuracy against the labels of the unblended examples."""
        del x, sample_weight
        self.accuracy.update_state(y, y_pred["logits"])
        return dict(self.get_metrics_result())

    def save_weights(self, filepath: str | Path, overwrite: bool = True, **_: object) -> None:
        """Save the network alone: what checkpoints and exports want."""
        self.network.save_weights(filepath, overwrite=overwrite)

    def estimate_statistics(self, batches: Sequence[NDArray[Any]]) -> None:
        """Set what batch normalization subtracts and divides by to its mean over `batches` under the present weights.

        The moving statistics belong to the weights that move. Averaged weights have others (Izmailov et al.,
        "Averaging Weights Leads to Wider Optima and Better Generalization", 2018, section 3.2). Frozen layers keep
        theirs.

        Args:
            batches: of unchanged examples, (N, …).
        """
        normalizations = [layer for layer in self.network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        momenta = [layer.momentum for layer in normalizations]
        for seen, examples in enumerate(batches):
            for layer in normalizations:
                layer.momentum = seen / (seen + 1)  # the mean of all batches so far
            _logits(self.network, ops.cast(examples, "float32"), training=True)
        for layer, momentum in zip(normalizations, momenta, strict=True):
            layer.momentum = momentum

    def state(self) -> Sequence[keras.Variable]:
        """What a resumed run must find again, beside the optimizer: weights, and where random numbers have come to."""
        teachers = {id(variable) for teacher in self.teachers for variable in teacher.variables}
        return [variable for variable in self.variables if id(variable) not in teachers]


def _logits(network: keras.Model, view: KerasTensor, *, training: bool) -> KerasTensor:
    return network(preprocessing.as_input(view, network.input_shape[1:]), training=training)


def _load_teachers(config: Config) -> list[keras.Model]:
    teachers = []
    for teacher in config.distillation.teachers if config.distillation else ():
        model = networks.build(teacher.network)
        networks.load_weights(model, teacher.weights)
        model.trainable = False
        teachers.append(model)
    return teachers
