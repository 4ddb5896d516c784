"""Every error Mien raises on purpose.

::

    MienError
    ├── SettingsError            a setting is missing or does not make sense
    ├── MediaError               the caller's picture or video cannot be used
    │   └── MediaTooLargeError   it is larger than the limit set for it
    ├── TensorError              an array does not fit the contract
    ├── DetectorError            the face detector cannot be loaded
    ├── InferenceError           the server's side
    │   ├── ServerUnavailableError   absent, stopping, or it broke off
    │   ├── DeadlineExceededError    no answer in the time given
    │   ├── ServerOverloadedError    it refused because its queue is full
    │   ├── ModelNotFoundError       it does not serve that model or version
    │   ├── RequestRejectedError     it found the request wrong
    │   └── AccessDeniedError        the call needs a key or a certificate
    ├── serving.errors.ServingError      running a server
    └── training.errors.TrainingError    making a model

An error's text is one or more sentences for a person: what was wrong, the value, and what to do next. `exit_code` is
what the command line ends with.
"""

from __future__ import annotations

from typing import ClassVar


class MienError(Exception):
    """Root of the tree: catch it to catch everything Mien raises on purpose."""

    exit_code: ClassVar[int] = 1


class SettingsError(MienError):
    """A setting is missing or does not make sense."""

    exit_code = 2


class MediaError(MienError):
    """A picture or video cannot be used: not one, truncated, damaged, of an unsupported kind."""

    exit_code = 3


class MediaTooLargeError(MediaError):
    """A picture or video is larger than the limit set for it."""


class TensorError(MienError):
    """An array does not fit the contract's dtype, shape or range."""

    exit_code = 3


class DetectorError(MienError):
    """The face detector cannot be loaded."""

    exit_code = 4


class InferenceError(MienError):
    """The server could not be asked or did not answer; the root of what a call can meet."""

    exit_code = 5


class ServerUnavailableError(InferenceError):
    """The server is absent, is stopping, or broke off in the middle."""


class DeadlineExceededError(InferenceError):
    """No answer came in the time given."""


class ServerOverloadedError(InferenceError):
    """The server refused because its queue is full or the request waited too long in it."""


class ModelNotFoundError(InferenceError):
    """The server does not serve that model, or not that version of it."""


class RequestRejectedError(InferenceError):
    """The server found the request wrong: a tensor's name, dtype, shape or number."""


class AccessDeniedError(InferenceError):
    """The call needs a key, a certificate or a right that was not shown."""
