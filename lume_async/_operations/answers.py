"""Answers as they come: to a request for which there is no method, and beside the values of other calls."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import dumps
from typing import Any
from urllib.parse import unquote

import orjson
from attrs import evolve, field, frozen
from multidict import CIMultiDict

from lume_async._base import arguments
from lume_async._base.public import public
from lume_async._http.checks import checked_headers, merged_headers
from lume_async._http.sender import Sender, on_response
from lume_async._wire.answers import BOM
from lume_async._wire.call import Call, CallState, Response
from lume_async._wire.headers import CONTENT_TYPE
from lume_async.errors import InvalidRequestError, ResponseDecodeError

KEPT, KEPT_BYTES = 100, 32 * 1024 * 1024
"""A block keeps at most so many answers, and so many bytes of their bodies."""
_METHODS = dict.fromkeys(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"), True) | {"POST": False, "PATCH": False}
"""Whether a request may be sent twice (RFC 9110 §9.2.2)."""
_PATH = re.compile(r"/(?!/)[!\"$-\[\]-~]{0,8191}")  # printable ASCII but space, `#` and `\`


@public
@frozen
class Answer:
    """An answer of the server to one attempt of a request. Its repr shows neither a query, nor headers, nor the body.

    Attributes:
        method: the HTTP method.
        path: the path below the base URL, with the query.
        status: the HTTP status.
        headers: a mapping of the headers; the names are case-insensitive.
        body: the decompressed body; of an error the first 64 KiB; empty if it was streamed, as by `LumeRun.download`.
        request_id: the server's `X-Request-Id`; quote it to its operators.
        attempts: how many times the request had been sent in its call.
    """

    method: str
    path: str = field(repr=lambda path: repr(path.partition("?")[0]))
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    request_id: str | None
    attempts: int

    def json(self) -> Any:
        """Return the body, decoded from JSON.

        Raises:
            ResponseDecodeError: it is not JSON.

        Examples:
            >>> answer = await client.request("GET", "/healthz")
            >>> print(answer.json()["status"])
            ok
        """
        try:
            return orjson.loads(self.body.removeprefix(BOM))
        except orjson.JSONDecodeError as error:
            path = self.path.partition("?")[0]
            reason = f"{self.method} {path}: the body is not JSON: {error.msg}"
        raise ResponseDecodeError(
            reason, status_code=self.status, request_id=self.request_id, retryable=False
        )


def _answer(sender: Sender, call: Call[Any], response: Response, state: CallState) -> Answer:
    headers, id_ = CIMultiDict(response.headers), sender.request_id(response, state)
    return Answer(call.method, call.path, response.status, headers, response.body, id_, state.attempts)


@contextmanager
def collecting(client: Sender) -> Iterator[list[Answer]]:
    """Collect the answers to a client and its views within the block; drop the oldest ones that are too many."""
    open_list: list[list[Answer]] = [[]]

    def take(sender: Sender, call: Call[Any], response: Response, state: CallState) -> None:
        for kept in open_list if sender.known is client.known else ():
            kept.append(_answer(sender, call, response, state))
            while len(kept) > KEPT or (len(kept) > 1 and sum(len(one.body) for one in kept) > KEPT_BYTES):
                del kept[:1]  # not pop: in lume_sync the user's thread may empty the list meanwhile

    on_response.set((*on_response.get(), take))
    try:
        yield open_list[0]
    finally:
        open_list.clear()  # what was started in the block and goes on adds nothing, and keeps no answers alive
        on_response.set(tuple(each for each in on_response.get() if each is not take))  # blocks may overlap


async def request(
    sender: Sender, method: str, path: str, json: Any, headers: Mapping[str, str] | None
) -> Answer:
    """Send it as any other call, and return the answer. Raises as `Client.request` says."""
    verb = method.upper() if isinstance(method, str) else method
    arguments.choice(verb, "method", list(_METHODS))
    now = sender.settings
    more = checked_headers(headers, has_token=now.token is not None, of_one=True)
    own: CIMultiDict[str] = CIMultiDict(more)
    body: bytes | None = None
    if json is not None:
        own.setdefault(CONTENT_TYPE, "application/json")
        try:
            body = dumps(json, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequestError(f"json can't be encoded: {error}; no request was sent") from None
    # For logs and metrics only the beginning: the rest may be different each time.
    group = re.sub(r"^(/[^/]*/[^/]*/).+", r"\1…", _checked(path).partition("?")[0])
    call: Call[Response] = Call(
        operation=f"{verb} {group}",
        path=path,
        headers=own,
        body=body,
        decode=lambda response: response,
        repeats=_METHODS[verb],
        service=sender.service.name,
    )
    view = sender.view(evolve(now, headers=merged_headers(now.headers, more)), sender.retry)
    state = CallState()
    return _answer(view, call, await view.send(call, state=state), state)


def _checked(path: str) -> str:
    """Return the path. Raises `InvalidRequestError` unless it stays below the base URL and can be sent as it is."""
    fits = isinstance(path, str) and _PATH.fullmatch(path)
    # Some servers decode twice, or ignore what follows a `;`.
    if fits and ".." not in re.split(r"[/\\;]", unquote(unquote(path.partition("?")[0]))):
        return path
    raise InvalidRequestError(
        "path must begin with one /, have no segment `..`, and be printable ASCII without spaces, # and \\ "
        f"(percent-encode them), not {arguments.shown(path)}; no request was sent"
    )
