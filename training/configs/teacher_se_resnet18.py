"""A teacher for `distilled`; `python -m training fit` with `--run runs/teacher_se_resnet18`.

(`make train CONFIG=teacher_se_resnet18` takes another directory.) For one GPU, with Keras on JAX. Not
run in this form yet, so it has no measured cost or accuracy. A laboratory script with the same network and nearly the
same recipe reached PublicTest 0.725 in 90 epochs on one H200.
"""

from training.config import Config

CONFIG = Config(
    network="se_resnet18",
    epochs=90,
    batch_size=256,
    learning_rate=0.1,
    warmup_epochs=5,
    weight_decay=5e-3,
    label_smoothing=0.1,
    dropout=0.5,
    precision="mixed_bfloat16",
)
