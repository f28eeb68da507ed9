"""Makes aioresponses (0.7.9 and before) work with aiohttp 3.14, whose responses want the writer of their request."""

import inspect
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses.core


class _Response(aiohttp.ClientResponse):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        named["loop"].get_debug.return_value = False  # else it keeps the stack of whoever asked
        super().__init__(*arguments, stream_writer=Mock(), **named)


if "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters:
    aioresponses.core.ClientResponse = _Response
