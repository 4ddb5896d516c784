"""Experiments, one a module; each docstring gives command, machine, cost and the accuracy reached."""
