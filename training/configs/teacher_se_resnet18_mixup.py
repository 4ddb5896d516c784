"""The other teacher for `distilled`; `python -m training fit` with `--run runs/teacher_se_resnet18_mixup`.

(`make train CONFIG=teacher_se_resnet18_mixup` takes another directory.) Harder mixup instead of smoothed labels, which
tell a student less. As `teacher_se_resnet18` in cost. On the same day, with the same fault, it ended at PublicTest
0.706; not run again since.
"""

from training.augmentation import AugmentationConfig
from training.config import Config

CONFIG = Config(
    network="se_resnet18",
    epochs=80,
    batch_size=256,
    learning_rate=0.1,
    warmup_epochs=5,
    weight_decay=5e-3,
    dropout=0.4,
    augmentation=AugmentationConfig(mixup=0.4),
    precision="mixed_bfloat16",
    seed=1,
)
