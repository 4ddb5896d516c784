"""The figures that the documentation quotes, each from a command."""
