"""Uploading a local file to the server's staging area: streamed, never whole in memory, checked at the end."""

import hashlib
import os
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from anyio import to_thread

from lume_async._http.sender import Sender
from lume_async._wire import endpoints
from lume_async.errors import ApiError, InvalidRequestError

CHUNK = 256 * 1024
SLOWEST = 128 * 1024
"""Bytes a second: an upload may take the request timeout and as long as this rate needs."""

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")


async def upload(sender: Sender, path: str | os.PathLike[str], flow_version: str | None) -> str:
    """Send the file; returns the `source_path` that names it on the server.

    Raises:
        InvalidRequestError: there is no such file.
        ApiError: the server refused it, or received something else than was sent.
    """
    file = Path(path)
    size = await to_thread.run_sync(_size, file)
    # A name of its own for every call: a resend overwrites only what this call has sent.
    name = f"{uuid.uuid4().hex}-{_UNUSUAL.sub('_', file.name)[-80:].lstrip('.') or 'file'}"
    digest = hashlib.sha256()

    async def content() -> AsyncIterator[bytes]:
        nonlocal digest
        digest = hashlib.sha256()  # each attempt reads the file anew
        async with await anyio.open_file(file, "rb") as stream:
            while chunk := await stream.read(CHUNK):
                digest.update(chunk)
                yield chunk

    call = endpoints.upload(name, content, size=size, flow_version=flow_version, patience=size / SLOWEST)
    stored = await sender.send(call)
    if stored.sha256 != digest.hexdigest():
        raise ApiError(
            f"{file.name} arrived changed: {stored.bytes:,} of {size:,} bytes, with another checksum; "
            "was it being written? Upload it again"
        )
    return stored.source_path


def _size(file: Path) -> int:
    if not file.is_file():
        raise InvalidRequestError(f"there is no file at {os.fspath(file)!r}: nothing was sent")
    return file.stat().st_size
