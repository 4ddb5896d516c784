"""The shipped network of speech: `python -m training folds emodb.zip --config speech_crnn`."""

from training.config import Config
from training.speech_augmentation import SpeechAugmentation

CONFIG = Config(
    network="speech_crnn",
    epochs=50,
    batch_size=16,
    optimizer="adamw",
    learning_rate=2e-3,
    warmup_epochs=2.5,
    weight_decay=2e-2,
    dropout=0.3,
    ema=0.995,
    label_smoothing=0.05,
    class_weights=True,
    keep="last",
    augmentation=SpeechAugmentation(),
)
