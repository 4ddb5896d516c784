"""The shipped network of speech: `python -m training folds emodb.zip`.

`make train DATA=emodb.zip CONFIG=speech_linear` fits it once and measures it on one speaker.
"""

from training.config import Config
from training.speech_augmentation import SpeechAugmentation

CONFIG = Config(
    network="speech_linear",
    epochs=30,
    batch_size=64,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=1e-2,
    dropout=0.5,
    ema=None,
    class_weights=True,
    keep="last",
    augmentation=SpeechAugmentation(copies=4),
)
