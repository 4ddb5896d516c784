"""From trained weights to the files of a release; ``python -m training.export --help``.

The only package here that needs TensorFlow: `training.export.release` imports it, this module does not.
"""
