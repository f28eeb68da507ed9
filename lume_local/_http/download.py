"""Sends a file in blocks, since outputs may be larger than memory."""

import asyncio
import os
from collections.abc import Mapping
from typing import BinaryIO

from aiohttp import web

from lume_local._http.messages import Output
from lume_local._http.problems import Problem
from lume_local._shared import no_links
from lume_local._shared.identity import identity

_BLOCK = 256 * 1024


async def sent(request: web.BaseRequest, output: Output, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send a file as the response. Raises `Problem` before anything is sent."""
    with await asyncio.to_thread(_opened, output) as file:
        response = web.StreamResponse(headers=headers)
        left = os.fstat(file.fileno()).st_size
        response.content_length = left
        await response.prepare(request)
        while left and request.method != "HEAD":
            block = await asyncio.to_thread(_read, file, min(left, _BLOCK))
            left -= len(block)
            await response.write(block)
        return response


def _read(file: BinaryIO, size: int) -> bytes:
    """The next bytes. After the headers, an error can only be reported by closing the connection."""
    try:
        block = file.read(size)
    except OSError as error:
        raise ConnectionError(f"the file can no longer be read: {error}") from None
    if not block:
        raise ConnectionError("the file became shorter while it was sent")
    return block


def _opened(output: Output) -> BinaryIO:
    path = output.path
    try:
        # Without O_NONBLOCK, opening a FIFO at that path would block.
        file = os.fdopen(no_links.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except OSError as error:
        raise Problem("output-gone", f"{path} can't be read: {error.strerror or error}") from None
    if output.identity != identity(file.fileno()):
        file.close()
        raise Problem("output-changed", f"{path} has been changed since the run wrote it")
    return file
