"""VGG-8 with 64 to 512 filters, for comparison: `make train DATA=fer2013.zip CONFIG=vgg8`.

For one GPU, with Keras on JAX. Not run in this form yet, so it has no measured cost or accuracy. A laboratory script
with the same network and nearly the same recipe reached PublicTest 0.706 in 120 epochs of 1 to 2 s on one H200.
"""

from training.config import Config

CONFIG = Config(
    network="vgg8",
    epochs=120,
    batch_size=256,
    learning_rate=0.1,
    warmup_epochs=5,
    weight_decay=5e-3,
    label_smoothing=0.1,
    dropout=0.4,
    precision="mixed_bfloat16",
)
