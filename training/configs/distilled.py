"""A small residual network, taught by two larger ones: `make train DATA=fer2013.zip CONFIG=distilled`.

Train the teachers first, with `--run runs/teacher_se_resnet18` and `--run runs/teacher_se_resnet18_mixup`. For one GPU,
with Keras on JAX: an epoch takes 2.4 s on an H100 (30 steps of 21 ms, 2026-11-27). No accuracy has been measured yet;
the aim is PublicTest 0.72. It costs about 1.4 times as much as the shipped network (ONNX Runtime, one thread).
"""

from pathlib import Path

from training.config import Config, Distillation, Teacher

CONFIG = Config(
    network="se_resnet16",
    epochs=200,
    batch_size=256,
    learning_rate=0.1,
    warmup_epochs=5,
    weight_decay=2e-3,
    dropout=0.2,
    held_out=0.02,
    precision="mixed_bfloat16",
    distillation=Distillation(
        (
            Teacher("se_resnet18", Path("runs/teacher_se_resnet18/network.weights.h5")),
            Teacher("se_resnet18", Path("runs/teacher_se_resnet18_mixup/network.weights.h5")),
        )
    ),
)
