"""The shipped network of speech: `python -m training folds emodb.zip --config speech_crnn`."""

from training.config import Config
from training.speech_augmentation import SpeechAugmentation

CONFIG = Config(
    network="speech_crnn",
    epochs=45,
    batch_size=32,
    optimizer="adamw",
    learning_rate=4e-3,
    warmup_epochs=2,
    weight_decay=2e-2,
    dropout=0.2,
    ema=0.99,
    label_smoothing=0.05,
    class_weights=True,
    keep="last",
    augmentation=SpeechAugmentation(),
)
