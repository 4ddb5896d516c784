"""From a dataset of faces to an evaluated, exported model; each step is a plain function and a command.

``python -m training --help`` lists the commands. Nothing here imports TensorFlow except `training.export`.
"""
