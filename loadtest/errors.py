"""Errors of load tests.

::

    MienError
    └── LoadTestError            a load test could not be run
"""

from __future__ import annotations

from mien.errors import MienError


class LoadTestError(MienError):
    """A load test could not be run; nothing was measured."""

    exit_code = 7
