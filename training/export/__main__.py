"""``python -m training.export``: the same as ``python -m training export``."""

import sys

from training.cli import main

main(["export", *sys.argv[1:]])
