"""Sends a file piece by piece: outputs are larger than memory."""

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from lume_local._http.problems import Problem

_BLOCK = 256 * 1024


async def sent(request: web.BaseRequest, path: Path, headers: Mapping[str, str]) -> web.StreamResponse:
    """The response with a file, sent. Raises `Problem` before anything is sent."""
    with await asyncio.to_thread(_opened, path) as file:
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
    """The next bytes; where there are none, only the end of the connection can say so."""
    try:
        block = file.read(size)
    except OSError as error:
        raise ConnectionError(f"the file can't be read any more: {error}") from None
    if not block:
        raise ConnectionError("the file became shorter while it was sent")
    return block


def _opened(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Problem("not-found", f"{path} is not a file")
        return path.open("rb")
    except OSError as error:
        raise Problem("not-found", f"{path} can't be read: {error.strerror or error}") from None
