"""Random changes to mel spectrograms of voices while training, as Keras layers, under every backend.

All layers take and give dB below the loudest, shape (N, frames, bands), and change nothing outside training. They work
on the spectrogram and not on the sound, so that each epoch's are new at little cost: stretching its axes is another
speed and another voice, adding to its bands another microphone, a floor under it another room.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import KerasTensor, ops

from training.augmentation import Mixup
from training.spectrogram import TOP_DB

AGAIN_FRAMES = 90
"""When the beginning is said again: about where recordings of 2 s end."""

MASK_DB = -50.0
"""What a masked stripe is filled with: about the mean of speech."""


@dataclass(frozen=True)
class SpeechAugmentation:
    """How strongly voices are changed; 0 turns a change off.

    Attributes:
        speed: largest relative change of speed, either way.
        pitch: largest relative change of all frequencies, either way.
        shift: largest move in time, in frames.
        again_share: share of the windows in which the beginning is said again, so that speech fills them.
        shortest: frames that are left where speech is cut short; the rest of the window is silence.
        cut_share: share of the windows that are cut short.
        microphone_db: standard deviation of a smooth change of the bands' energy.
        noise_share: share of the windows with noise.
        noise_db: level of the quietest and the loudest noise.
        masks: stripes of time, and as many of frequency, that are masked (SpecAugment; Park et al., 2019).
        mask_frames: widest stripe of time.
        mask_bands: widest stripe of frequency.
        mixup: both parameters of mixup's Beta distribution.
    """

    speed: float = 0.12
    pitch: float = 0.12
    shift: float = 12.0
    again_share: float = 0.4
    shortest: float = 70.0
    cut_share: float = 0.6
    microphone_db: float = 2.0
    noise_share: float = 0.3
    noise_db: tuple[float, float] = (-70.0, -40.0)
    masks: int = 1
    mask_frames: float = 16.0
    mask_bands: float = 10.0
    mixup: float = 0.1

    def layer(self, seed: int) -> VoiceChanges:
        """The changes as a layer."""
        return VoiceChanges(self, seed)


@keras.saving.register_keras_serializable(package="mien")
class RandomVoice(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Another speed, other frequencies, another beginning and another end, in one bilinear resampling."""

    def __init__(self, config: SpeechAugmentation, seed: int) -> None:
        super().__init__(dtype="float32")
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, bands: KerasTensor, training: bool = False) -> KerasTensor:
        """Change a batch."""
        if not training:
            return bands
        config, count, frames = self.config, ops.shape(bands)[0], bands.shape[1]
        time = ops.exp(self._uniform(count, -1, 1) * config.speed)
        frequency = ops.exp(self._uniform(count, -1, 1) * config.pitch)
        start = self._uniform(count, -1, 1) * config.shift
        zero = ops.zeros_like(time)
        transforms = ops.stack([frequency, zero, zero, zero, time, start, zero, zero], axis=1)
        changed = ops.image.affine_transform(
            bands[..., None], transforms, "bilinear", "constant", -TOP_DB, data_format="channels_last"
        )[..., 0]
        silence = ops.full_like(changed[:, :AGAIN_FRAMES], -TOP_DB)
        twice = ops.maximum(changed, ops.concatenate([silence, changed[:, : frames - AGAIN_FRAMES]], axis=1))
        again = self._uniform(count, 0, 1) < config.again_share
        changed = ops.where(again[:, None, None], twice, changed)
        cut = self._uniform(count, 0, 1) < config.cut_share
        end = ops.where(cut, self._uniform(count, 0, 1) * (frames - config.shortest) + config.shortest, float(frames))
        spoken = ops.arange(frames, dtype="float32")[None, :] < end[:, None]
        return ops.where(spoken[..., None], changed, -TOP_DB)

    def _uniform(self, count: KerasTensor, low: float, high: float) -> KerasTensor:
        return keras.random.uniform((count,), low, high, seed=self.seed_generator)


@keras.saving.register_keras_serializable(package="mien")
class RandomRoom(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Another microphone and a floor of noise; the loudest is 0 dB again afterwards."""

    def __init__(self, config: SpeechAugmentation, seed: int) -> None:
        super().__init__(dtype="float32")
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, bands: KerasTensor, training: bool = False) -> KerasTensor:
        """Change a batch."""
        if not training:
            return bands
        config, count = self.config, ops.shape(bands)[0]
        bands = bands + self._colour(count, bands.shape[2], config.microphone_db)
        noisy = keras.random.uniform((count, 1, 1), seed=self.seed_generator) < config.noise_share
        level = keras.random.uniform((count, 1, 1), *config.noise_db, seed=self.seed_generator)
        flicker = keras.random.uniform(ops.shape(bands), -6, 6, seed=self.seed_generator)
        noise = level + self._colour(count, bands.shape[2], 5.0) + flicker
        # Of two sounds of different energy, the louder one is nearly the energy of both.
        bands = ops.where(noisy, ops.maximum(bands, noise), bands)
        return ops.maximum(bands - ops.max(bands, axis=(1, 2), keepdims=True), -TOP_DB)

    def _colour(self, count: KerasTensor, bands: int, deviation_db: float) -> KerasTensor:
        """A smooth curve over the bands, (N, 1, bands)."""
        rough = keras.random.normal((count, 5, 1, 1), stddev=deviation_db, seed=self.seed_generator)
        smooth = ops.image.resize(rough, (bands, 1), interpolation="bilinear", data_format="channels_last")
        return ops.reshape(smooth, (-1, 1, bands))


@keras.saving.register_keras_serializable(package="mien")
class RandomMasks(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """Masks stripes of time and of frequency."""

    def __init__(self, config: SpeechAugmentation, seed: int) -> None:
        super().__init__(dtype="float32")
        self.config = config
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, bands: KerasTensor, training: bool = False) -> KerasTensor:
        """Mask a batch."""
        if not training:
            return bands
        count = ops.shape(bands)[0]
        for _ in range(self.config.masks):
            times = self._stripe(count, bands.shape[1], self.config.mask_frames)[:, :, None]
            frequencies = self._stripe(count, bands.shape[2], self.config.mask_bands)[:, None, :]
            bands = ops.where(ops.logical_or(times, frequencies), MASK_DB, bands)
        return bands

    def _stripe(self, count: KerasTensor, length: int, widest: float) -> KerasTensor:
        centre = keras.random.uniform((count, 1), 0, length, seed=self.seed_generator)
        half = keras.random.uniform((count, 1), 0, widest / 2, seed=self.seed_generator)
        return ops.abs(ops.arange(length, dtype="float32")[None, :] - centre) < half


@keras.saving.register_keras_serializable(package="mien")
class VoiceChanges(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
    """All of them, as a configuration says."""

    def __init__(self, config: SpeechAugmentation, seed: int) -> None:
        super().__init__(dtype="float32")
        self.voice = RandomVoice(config, seed + 1)
        self.room = RandomRoom(config, seed + 2)
        self.masks = RandomMasks(config, seed + 3)
        self.mixup = Mixup(config.mixup, seed + 4) if config.mixup else None

    def call(self, bands: KerasTensor, targets: KerasTensor, training: bool = False) -> tuple[KerasTensor, KerasTensor]:
        """Change a batch of spectrograms and their (N, classes) targets."""
        bands = ops.cast(bands, "float32")
        for change in (self.voice, self.room, self.masks):
            bands = change(bands, training=training)
        if self.mixup is not None:
            bands, targets = self.mixup(bands, targets, training=training)
        return bands, targets
