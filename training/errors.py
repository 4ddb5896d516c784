"""What can go wrong while a model is made; the tree's root is `mien.errors`."""

from __future__ import annotations

from mien.errors import MienError


class TrainingError(MienError):
    """A model cannot be made from what was given; root of the errors of this package."""

    exit_code = 6


class DatasetError(TrainingError):
    """The dataset cannot be read or does not make sense."""


class ExportError(TrainingError):
    """An exported model does not have the contract's tensors or does not compute what Keras computes."""
