"""ResNet50V2 from ImageNet's weights, unfrozen in three stages: `make train DATA=fer2013.zip CONFIG=resnet50v2`.

Not run, so it has no measured cost or accuracy: it needs a GPU, Keras on JAX, and the download of ImageNet's weights
(94 MB) or `pretrained` set to their path. With a base frozen at first and unfrozen step by step, a validation accuracy
of 69 % is reported for it. Of FER-2013 it only sees grey faces enlarged from 48 to 96 pixels; what it makes of sharp
colour crops has to be measured. It takes 24 M parameters, twenty times the shipped network's.
"""

from training.config import Config, Stage

CONFIG = Config(
    network="resnet50v2",
    pretrained="imagenet",
    stages=(
        Stage(0, trainable=("head",)),
        Stage(8, trainable=("conv5", "post", "head"), rate=0.1),
        Stage(20, trainable=("conv4", "conv5", "post", "head"), rate=0.03),
    ),
    epochs=50,
    batch_size=128,
    optimizer="adamw",
    learning_rate=1e-3,
    warmup_epochs=1,
    weight_decay=1e-2,
    label_smoothing=0.1,
    dropout=0.5,
    patience=7,
    precision="mixed_bfloat16",
)
