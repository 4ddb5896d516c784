"""Errors of the flows.

::

    MienError
    └── FlowError                  a flow cannot go on
        ├── NoServerError          no server runs that a release could be served by
        ├── DatasetRefusedError    the dataset has faults that training must not begin with
        ├── GateRefusedError       the candidate may not take the place of the release that is served
        ├── RolloutError           Kubernetes did not do what a release needs
        ├── TrafficError           the figures of served traffic cannot be read
        └── TrialRefusedError      the candidate has not passed its trial on live traffic
"""

from __future__ import annotations

from mien.errors import MienError


class FlowError(MienError):
    """A flow cannot go on; the root of what this package raises."""

    exit_code = 7


class NoServerError(FlowError):
    """No server runs on the state folder, so nothing could be promoted."""


class GateRefusedError(FlowError):
    """The candidate may not take the place of the release that is served."""


class DatasetRefusedError(FlowError):
    """The dataset has faults that training must not begin with."""


class RolloutError(FlowError):
    """Kubernetes cannot be reached, refuses, or does not get new pods ready."""


class TrafficError(FlowError):
    """The figures of served traffic cannot be read, or what is kept of them is damaged."""


class TrialRefusedError(FlowError):
    """The candidate has not passed its trial on live traffic."""
