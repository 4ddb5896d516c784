"""The command line's entry point: errors become a sentence on stderr and an exit code.

`mien.errors` gives the codes of Mien's own errors; 2 is a wrong command line, 70 a fault of Mien's, 130 a Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Final

from mien.errors import MienError, SettingsError
from mien.output import escape_what_cannot_be_encoded

EXIT_FAULT: Final = 70
EXIT_INTERRUPTED: Final = 130


def main() -> int:
    """Run the command that the arguments name and return its exit code."""
    # OpenCV reads these when it is imported; its own lines would stand between ours.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    escape_what_cannot_be_encoded()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped container keeps its rows, as after Ctrl-C
    try:
        return _run()
    except MienError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `mien … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("MIEN_TRACEBACK"):
            raise
        return _fail(
            f"Mien failed unexpectedly ({type(error).__name__}: {error}). Please report it with what "
            "MIEN_TRACEBACK=1 prints.",
            EXIT_FAULT,
        )


def _run() -> int:
    try:
        from mien import commands  # here, because the command line's libraries are an extra
    except ImportError as error:
        if error.name not in {"typer", "rich"}:
            raise
        raise SettingsError("The command line needs the extra `cli`: pip install 'mien[cli]'.") from error
    # Pillow's warnings are not for users: of damaged metadata, which does no harm, and of large pictures, which Mien
    # refuses itself.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return commands.run()


def _fail(sentence: str, code: int) -> int:
    sys.stdout.flush()
    print(f"Error: {sentence}", file=sys.stderr)
    return code
