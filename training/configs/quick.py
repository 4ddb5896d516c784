"""A first model in minutes, without a GPU: `make train DATA=fer2013.zip CONFIG=quick`.

2 cores of a 2.5 GHz Xeon, TensorFlow: 45 to 80 s an epoch, 8 minutes in all with the report, 1.1 GB. PublicTest 0.609,
one run. Feeding costs nothing: 171 ms a step with fresh faces and with one fixed batch, the fastest of three rounds on
a shared machine whose slowest took twice as long (`python -m benchmarks.input_pipeline`).
"""

from training.augmentation import AugmentationConfig
from training.config import Config

CONFIG = Config(
    network="vgg_small",
    epochs=7,
    learning_rate=0.1,
    warmup_epochs=0.5,
    weight_decay=5e-3,
    dropout=0.1,
    held_out=0.05,
    ema=None,
    augmentation=AugmentationConfig(
        rotation_degrees=10, scale=0.1, shift=3, contrast=0.2, brightness=15, erasing=0, mixup=0
    ),
)
