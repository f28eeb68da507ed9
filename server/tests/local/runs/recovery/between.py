"""What lies between a server and its PostgreSQL or S3: it can be cut in the middle of a commit, and stay so."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

_UPLOAD = re.compile(rb"PUT .*?\r\nx-amz-meta-lumerun: ([^\r]+)", re.DOTALL | re.IGNORECASE)
"""What uploads an object to S3, and of which run."""
_LAST = b"SET CONSTRAINTS ALL IMMEDIATE"
"""What a load sends before its COMMIT."""


class Line:
    """Connections to a port, one thread for each direction.

    Attributes:
        port: where to connect to.
        is_cut: whether nobody gets through.
        cuts: where to cut: `before` the commit of a load, or `after` it, so that only its answer is lost.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_cut = False
        self.cuts = ""
        self._open: list[socket.socket] = []

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                threading.Thread(target=self._forth, args=[near, far], daemon=True).start()
                threading.Thread(target=self._back, args=[far, near], daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._open):
            _end(one)

    def _forth(self, near: socket.socket, far: socket.socket) -> None:
        seen = b""
        with suppress(OSError):
            while data := near.recv(65536):
                seen = seen[-100:] + data
                if _LAST in seen:
                    far.sendall(data)
                    return self._commit(near, far)
                far.sendall(data)
        _end(near, far)

    def _commit(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                if self.cuts and b"COMMIT" in data:
                    self.is_cut = True
                    if self.cuts == "after":
                        _end(near)
                        far.sendall(data)
                        far.settimeout(10)
                        far.recv(65536)  # its answer
                    break
                far.sendall(data)
        _end(near, far)

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)
        _end(near)


L = TypeVar("L", bound=Line)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


class Store(Line):
    """The same before an S3: once it `holds`, the first run that uploads an object can't, all others can."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.holds = False
        self._held = b""

    def _forth(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                if self.holds and (match := _UPLOAD.match(data)):
                    self._held = self._held or match[1]
                    if match[1] == self._held:
                        break
                far.sendall(data)
        _end(near, far)


@contextmanager
def line(target: int, kind: type[L]) -> Iterator[L]:
    made = kind(target)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
