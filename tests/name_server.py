"""The name of a headless service, answered over DNS as a cluster answers it: the addresses of the pods behind it."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

NAME = "triton.mien.svc"


class NameServer:
    """Answers who is behind `NAME`, over UDP; any other question gets an empty answer."""

    def __init__(self) -> None:
        self._addresses: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._socket.getsockname()[1])

    def add(self, address: str) -> None:
        """Have the name lead to `address` too."""
        self._addresses = [*self._addresses, address]

    def remove(self, address: str) -> None:
        """No longer have the name lead to `address`."""
        self._addresses = [known for known in self._addresses if known != address]

    def _serve(self) -> None:
        while True:
            question, caller = self._socket.recvfrom(512)
            if not question:
                return
            self._socket.sendto(self._answer(question), caller)

    def _answer(self, question: bytes) -> bytes:
        labels = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
        asked = question[12 : question.index(b"\0", 12) + 5]
        wanted = asked.lower() == labels + b"\0" + struct.pack(">HH", 1, 1)
        addresses = self._addresses if wanted else []
        records = [struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address) for address in addresses]
        return question[:2] + struct.pack(">HHHHH", 0x8580, 1, len(records), 0, 0) + asked + b"".join(records)
