"""The widespread three-block CNN, for comparison: `make train DATA=fer2013.zip CONFIG=three_block`.

Optimizer, rate, batch and plateau are those it is published with; augmentation is ours. Not run here yet: it wants a
GPU. About 71 % on the test split is claimed for it.
"""

from training.config import Config, Plateau

CONFIG = Config(
    network="three_block",
    epochs=100,
    batch_size=64,
    optimizer="adam",
    learning_rate=1e-4,
    schedule="constant",
    plateau=Plateau(factor=0.2, patience=4, floor=1e-6),
    patience=10,
    dropout=0.5,
    ema=None,
)
