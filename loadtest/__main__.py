"""``python -m loadtest``."""

import signal
import sys

from loadtest.cli import main

# SIGTERM, because a stopped container reports as after Ctrl-C; SIGINT explicitly, because a shell that starts this in
# the background has it ignored, here and in Locust.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
sys.exit(main())
