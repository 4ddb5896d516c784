"""Random changes to faces while training, as Keras layers: on the device, inside the step, under every backend.

All layers take and give float grey levels 0..255, shape (N, H, W, C), and change nothing outside training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor, ops

if TYPE_CHECKING:
    from training.dataset import Split

GREY = 128.0
"""What an erased rectangle is filled with."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How strongly faces are changed; 0 turns a change off.

    Attributes:
        flip: probability of a mirrored face.
        rotation_degrees: largest angle, either way.
        scale: largest relative change of size, either way.
        shift: largest move in pixels, along each axis.
        geometry_share: share of the faces that are rotated, and of those that are scaled or moved.
        contrast: largest relative change of contrast.
        brightness: largest change in grey levels.
        erasing: probability that a rectangle is erased.
        erased_pixels: smallest and largest half side of that rectangle.
        mixup: both parameters of mixup's Beta distribution.
    """

    flip: float = 0.5
    rotation_degrees: float = 15.0
    scale: float = 0.2
    shift: float = 6.0
    geometry_share: float = 0.65
    contrast: float = 0.3
    brightness: float = 25.0
    erasing: float = 0.5
    erased_pixels: tuple[float, float] = (4.0, 12.0)
    mixup: float = 0.2

    def layer(self, seed: int) -> Augmentation:
        """The changes as a layer."""
        return Augmentation(self, seed)

    def enlarged(self, split: Split, seed: int) -> Split:
        """The faces as they are: they are changed anew in each step."""
        del seed
        return split


@keras.saving.register_keras_serializable(package="mien")
class RandomGeometry(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Mirrors, rotates, scales and moves, in one bilinear resampling; what lies outside repeats the border."""

    def __init__(self, config: AugmentationConfig, seed: int) -> None:
        super().__init__(dtype="float32")
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Change a batch."""
        if not training:
            return images
        config, count = self.config, ops.shape(images)[0]
        height, width = images.shape[1:3]
        angle = self._some(count, math.radians(config.rotation_degrees))
        size = 1 + self._some(count, config.scale)
        mirrored = ops.where(self._uniform(count, 0, 1) < config.flip, -1.0, 1.0)
        cos, sin = ops.cos(angle) * size, ops.sin(angle) * size
        x_scale, x_shear = cos * mirrored, -sin * mirrored
        x_centre, y_centre = (width - 1) / 2, (height - 1) / 2
        x_start = x_centre - x_scale * x_centre - x_shear * y_centre + self._some(count, config.shift)
        y_start = y_centre - sin * x_centre - cos * y_centre + self._some(count, config.shift)
        zero = ops.zeros_like(cos)
        transforms = ops.stack([x_scale, x_shear, x_start, sin, cos, y_start, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, transforms, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )

    def _uniform(self, count: KerasTensor, low: float, high: float) -> KerasTensor:
        return keras.random.uniform((count,), low, high, seed=self.seed_generator)

    def _some(self, count: KerasTensor, largest: float) -> KerasTensor:
        chosen = self._uniform(count, 0, 1) < self.config.geometry_share
        return ops.where(chosen, self._uniform(count, -1, 1) * largest, 0.0)


@keras.saving.register_keras_serializable(package="mien")
class RandomLight(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Changes the contrast about each face's mean, and the brightness."""

    def __init__(self, config: AugmentationConfig, seed: int) -> None:
        super().__init__(dtype="float32")
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Change a batch."""
        if not training:
            return images
        shape = (ops.shape(images)[0], 1, 1, 1)
        contrast = keras.random.uniform(shape, -1, 1, seed=self.seed_generator) * self.config.contrast
        brightness = keras.random.uniform(shape, -1, 1, seed=self.seed_generator) * self.config.brightness
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        return ops.clip((images - mean) * (1 + contrast) + mean + brightness, 0.0, 255.0)


@keras.saving.register_keras_serializable(package="mien")
class RandomErasing(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Fills a rectangle with grey (Zhong et al., 2020)."""

    def __init__(self, config: AugmentationConfig, seed: int) -> None:
        super().__init__(dtype="float32")
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: KerasTensor, training: bool = False) -> KerasTensor:
        """Change a batch."""
        if not training:
            return images
        count = ops.shape(images)[0]
        height, width = images.shape[1:3]
        rows = self._band(count, height)[:, :, None, None]
        columns = self._band(count, width)[:, None, :, None]
        chosen = keras.random.uniform((count, 1, 1, 1), seed=self.seed_generator) < self.config.erasing
        return ops.where(ops.logical_and(chosen, ops.logical_and(rows, columns)), GREY, images)

    def _band(self, count: KerasTensor, length: int) -> KerasTensor:
        centre = keras.random.uniform((count, 1), 0, length, seed=self.seed_generator)
        half = keras.random.uniform((count, 1), *self.config.erased_pixels, seed=self.seed_generator)
        return ops.abs(ops.arange(length, dtype="float32")[None, :] - centre) < half


@keras.saving.register_keras_serializable(package="mien")
class Mixup(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Blends each example, and its target, with the next one's in the batch (Zhang et al., 2018)."""

    def __init__(self, alpha: float, seed: int) -> None:
        super().__init__(dtype="float32")
        self.alpha = alpha
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(
        self, examples: KerasTensor, targets: KerasTensor, training: bool = False
    ) -> tuple[KerasTensor, KerasTensor]:
        """Blend a batch of any shape; `targets` are (N, classes) probabilities."""
        if not training:
            return examples, targets
        share = keras.random.beta((ops.shape(examples)[0], 1), self.alpha, self.alpha, seed=self.seed_generator)
        share = ops.maximum(share, 1 - share)  # the example itself stays the larger part
        wide = ops.reshape(share, (-1, *[1] * (len(examples.shape) - 1)))
        blended = wide * examples + (1 - wide) * ops.roll(examples, 1, axis=0)
        return blended, share * targets + (1 - share) * ops.roll(targets, 1, axis=0)


@keras.saving.register_keras_serializable(package="mien")
class Augmentation(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """All of them, as a configuration says."""

    def __init__(self, config: AugmentationConfig, seed: int) -> None:
        super().__init__(dtype="float32")
        self.geometry = RandomGeometry(config, seed + 1)
        self.light = RandomLight(config, seed + 2)
        self.erasing = RandomErasing(config, seed + 3) if config.erasing else None
        self.mixup = Mixup(config.mixup, seed + 4) if config.mixup else None

    def call(
        self, images: KerasTensor, targets: KerasTensor, training: bool = False
    ) -> tuple[KerasTensor, KerasTensor]:
        """Change a batch of faces and their (N, classes) targets."""
        images = self.light(self.geometry(ops.cast(images, "float32"), training=training), training=training)
        if self.erasing is not None:
            images = self.erasing(images, training=training)
        if self.mixup is not None:
            images, targets = self.mixup(images, targets, training=training)
        return images, targets
