"""How a network is trained, not what it is: `python -m training search DATA --config quick --space recipe`.

The ranges lie around what the shipped configurations use. The learning rate and the weight decay matter by their
order of magnitude; the weight decay is decoupled, see `Config`.
"""

from training.space import Choice, Float, Space

SPACE = Space(
    {
        "learning_rate": Float(0.01, 0.3, log=True),
        "weight_decay": Float(5e-4, 2e-2, log=True),
        "dropout": Float(0.0, 0.5),
        "label_smoothing": Float(0.0, 0.15),
        "batch_size": Choice((64, 128, 256)),
    }
)
"""A step of SGD with momentum; an adaptive optimizer wants rates about a hundred times lower."""
