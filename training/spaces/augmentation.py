"""How strongly faces are changed: `python -m training search DATA --config quick --space augmentation`.

Each range goes from nothing, or little, to the point where faces become hard to name. Stronger changes pay only over
many epochs, so give a search of this space as many as can be afforded.
"""

from training.space import Choice, Float, Space

SPACE = Space(
    {
        "augmentation.rotation_degrees": Float(0.0, 25.0),
        "augmentation.scale": Float(0.0, 0.3),
        "augmentation.shift": Float(0.0, 8.0),
        "augmentation.contrast": Float(0.0, 0.5),
        "augmentation.erasing": Float(0.0, 0.7),
        "augmentation.mixup": Choice((0.0, 0.1, 0.2, 0.4)),
    }
)
