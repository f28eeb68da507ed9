"""The requests for uploads, as data, in the form of the IETF's draft "Resumable Uploads for HTTP". Pure.

An upload is its own upload resource, under the name that the client chooses. So the client knows where to continue
one whose first request was cut off, without the draft's interim response (104), which HTTP libraries don't pass on.
"""

import base64
import re
from collections.abc import Callable

from attrs import frozen

from lume_async._wire.call import Call, Content, Response
from lume_async._wire.endpoints import object_of, optional_call, path_of
from lume_async._wire.headers import (
    CONTENT_LENGTH,
    CONTENT_TYPE,
    REPR_DIGEST,
    UPLOAD_COMPLETE,
    UPLOAD_LENGTH,
    UPLOAD_OFFSET,
)

_SETTLING, _SYNCED = 30.0, 50_000_000
"""Seconds allowed for data in transit; bytes per second that a server is expected to make durable."""
_OFFSET = re.compile(r"\s*([0-9]{1,15})\s*(;.*)?")
_COMPLETE = re.compile(r"\s*\?1\s*(;.*)?")


@frozen
class Stored:
    """A complete upload: the `source_path` for `run`, and the size and SHA-256 of the received file."""

    source_path: str
    bytes: int
    sha256: str


@frozen
class UploadState:
    """The server's part of an upload: its number of bytes, and whether it is complete."""

    offset: int
    is_complete: bool


@frozen
class WholeFile:
    """The uploaded file: its name on the server, its size in bytes, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str

    def part(self, offset: int) -> dict[str, str]:
        """Return the headers of a request with all bytes from `offset` on."""
        digest = base64.b64encode(bytes.fromhex(self.sha256)).decode()
        return {
            CONTENT_LENGTH: str(self.size - offset),
            REPR_DIGEST: f"sha-256=:{digest}:",
            UPLOAD_COMPLETE: "?1",
            UPLOAD_LENGTH: str(self.size),
        }

    @property
    def patience(self) -> float:
        """Seconds that the server may need after the last byte, on top of the time limit."""
        return _SETTLING + self.size / _SYNCED


def begin(file: WholeFile, content: Callable[[], Content], *, flow_version: str | None) -> Call[Stored]:
    """Send all of a file; an existing upload with the same name is replaced once it has arrived."""
    return Call(
        operation="PUT /v1/uploads/{name}",
        path=path_of(f"/v1/uploads/{file.name}", {}, flow_version=flow_version),
        headers={CONTENT_TYPE: "application/octet-stream", **file.part(0)},
        stream=content,
        decode=_stored,
        hold=file.patience,
        optional=True,
    )


def resume(file: WholeFile, content: Callable[[], Content], *, offset: int) -> Call[Stored]:
    """Send the bytes of a file from `offset` on."""
    return Call(
        operation="PATCH /v1/uploads/{name}",
        path=f"/v1/uploads/{file.name}",
        headers={
            CONTENT_TYPE: "application/partial-upload",
            UPLOAD_OFFSET: str(offset),
            **file.part(offset),
        },
        stream=content,
        decode=_stored,
        hold=file.patience,
    )


def held(file: WholeFile) -> Call[UploadState | None]:
    """Ask how much of a file the server has; None if unknown."""

    def decode(answer: Response) -> UploadState | None:
        offset = _OFFSET.fullmatch(answer.headers.get(UPLOAD_OFFSET, ""))
        if offset is None:
            return None
        is_complete = _COMPLETE.fullmatch(answer.headers.get(UPLOAD_COMPLETE, "")) is not None
        return UploadState(int(offset[1]), is_complete)

    return optional_call("HEAD /v1/uploads/{name}", decode, f"/v1/uploads/{file.name}", hold=file.patience)


def stored(file: WholeFile) -> Call[Stored]:
    """Get the response to a complete upload."""
    return optional_call("GET /v1/uploads/{name}", _stored, f"/v1/uploads/{file.name}", hold=file.patience)


_stored = object_of(Stored)
