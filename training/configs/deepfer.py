"""DeepFER's CNN, for comparison: `make train DATA=fer2013.zip CONFIG=deepfer`.

Optimizer, rate and plateau are those it is published with; augmentation is ours. Not run here yet: it wants a GPU. Its
authors report 59.7 % on their validation split.
"""

from training.config import Config, Plateau

CONFIG = Config(
    network="deepfer",
    epochs=100,
    batch_size=64,
    optimizer="adam",
    learning_rate=1e-4,
    schedule="constant",
    plateau=Plateau(factor=0.8, patience=8, floor=1e-6),
    dropout=0.5,
    ema=None,
)
