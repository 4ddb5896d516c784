"""How voices are learnt from: `python -m training search emodb.zip --config speech_linear --space voices`.

A trial is measured on the validation's one speaker, so a small gain there is chance: hold the best against `folds`.
"""

from training.space import Choice, Float, Space

SPACE = Space(
    {
        "learning_rate": Float(3e-4, 1e-2, log=True),
        "weight_decay": Float(1e-3, 1e-1, log=True),
        "dropout": Float(0.0, 0.7),
        "batch_size": Choice((32, 64, 128)),
        "augmentation.copies": Choice((1, 2, 4)),
    }
)
"""A step of AdamW. Each trial makes its changed copies anew, which takes longer than to learn from them."""
