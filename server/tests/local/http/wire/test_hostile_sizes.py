"""Whatever the server parses before it knows who asks, or on its event loop, takes time in proportion to its size.

Sixteen times the input may take 64 times as long: 16 is what is expected, 256 what a quadratic parser takes. Of
several measurements the quickest counts, in processor time, and below a millisecond nothing is compared: a busy
machine makes no difference to it.
"""

import base64
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from local.routes import ROUTES

from lume_async.errors import LumeError
from lume_local._flow.cleaners import named_in
from lume_local._flow.databases import QueryRefused, with_parameter
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.mistakes import line_of
from lume_local._http import queries, requests
from lume_local._http.access.tokens import _unchecked
from lume_local._http.console import Sessions, is_own_host
from lume_local._http.exchange import Problem
from lume_local._http.front import _check_parameters
from lume_local._http.result_operations import CURSOR
from lume_local._runs.sources.paths import UPLOAD_NAME

SMALL, TIMES, AT_MOST, FLOOR = 1_000, 16, 64, 0.001
SESSIONS = Sessions()
FLOW = {"flow": "f", "version": "v1", "columns": {"a": {}}}


def submitted(body: str) -> object:
    return requests.submission(body.encode(errors="surrogatepass"))


def metadata(text: str) -> object:
    return submitted(f'{{"flow_version": "f:v1", "source_path": "a", "run_metadata": {text}}}')


def members(n: int, name: Callable[[int], str]) -> str:
    return "{" + ",".join(f'"{name(i)}":1' for i in range(n)) + "}"


def token(claims: str) -> str:
    """A token of an issuer, whose claims are read to find that issuer before its signature is checked."""
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode()}.x"


def aliases(n: int) -> dict[str, Any]:
    return {f"c{i}": {"from": [f"n{i}-{k}" for k in range(10)]} for i in range(n // 100)}


def with_source(**more: Any) -> dict[str, Any]:
    return {**FLOW, "source": more}


def with_columns(**more: Any) -> dict[str, Any]:
    return {**FLOW, **more}


CASES: dict[str, tuple[Callable[[Any], object], Callable[[int], Any]]] = {
    "a repeated member, the first of many": (submitted, lambda n: members(n, lambda i: str(max(i, 1)))),
    "the same member again and again": (submitted, lambda n: members(n, lambda i: "a")),
    "unknown members": (submitted, lambda n: members(n, str)),
    "deep lists": (submitted, lambda n: "[" * n),
    "deep and closed": (metadata, lambda n: '{"a":' * n + "1" + "}" * n),
    "a number of many digits": (metadata, lambda n: '{"a":' + "1" * n + "}"),
    "many numbers of many digits": (
        metadata,
        lambda n: '{"a":[' + ",".join(["1" * 4_000] * (n // 100)) + "]}",
    ),
    "a string that does not end": (submitted, lambda n: '{"' + "a" * 16 * n),
    "escapes": (metadata, lambda n: '{"a":"' + "\\u00e9" * n + '"}'),
    "backslashes": (metadata, lambda n: '{"a":"' + "\\\\" * n + '"}'),
    "white space": (submitted, lambda n: " " * 64 * n),
    "metadata of many members": (metadata, lambda n: members(n // 2, str)),
    "a long path": (submitted, lambda n: '{"flow_version": "f:v1", "source_path": "' + "../" * n + '"}'),
    "a content type": (
        lambda text: requests.json_object(b"{}", text),
        lambda n: "application/" + "a+" * 8 * n,
    ),
    "an idempotency key": (lambda text: requests.idempotency_key([text]), lambda n: "a" * 16 * n),
    "a trace": (lambda text: requests.traceparent([text]), lambda n: " " * 16 * n + "0"),
    "a preference": (lambda text: requests.wait_seconds([text]), lambda n: "wait = " + " " * 16 * n + "x"),
    "preferences": (lambda text: requests.wait_seconds([text]), lambda n: "wait=," * 4 * n),
    "tags": (lambda text: requests.matches([text], '"x"'), lambda n: 'W/"' * 8 * n),
    "headers of tags": (lambda texts: requests.matches(texts, '"x"'), lambda n: ['"a"'] * 4 * n),
    "a cursor": (lambda text: queries.number_cursor(text, "s"), lambda n: "s-" + "1" * 16 * n),
    "a cursor of broken escapes": (lambda text: queries.number_cursor(text, "s"), lambda n: "%" * 16 * n),
    "a cursor of the feed": (lambda text: queries.feed_cursor(text, "s"), lambda n: "a" * 16 * n),
    "a cursor of rows": (
        lambda text: queries.own_cursor(text, CURSOR, "0" * 16),
        lambda n: "0" * 16 + "-1" * 8 * n,
    ),
    "statuses": (queries.run_filter, lambda n: [("status", "A," * n + "a")]),
    "a status": (queries.run_filter, lambda n: [("status", "A_" * 8 * n)]),
    "unknown parameters": (
        lambda query: _check_parameters(ROUTES["GET", "/v1/runs"], query),
        lambda n: [(str(i), "") for i in range(n)],
    ),
    "dimensions": (queries.dimensions, lambda n: [("by", "status," * n)]),
    "a time": (queries.run_filter, lambda n: [("since", "2026-01-01T00:00:00." + "0" * 16 * n)]),
    "a share": (queries.run_filter, lambda n: [("attention", "0." + "0" * 16 * n)]),
    "a session": (SESSIONS.owner, lambda n: "a" * 16 * n),
    "a host": (lambda text: is_own_host(text, ()), lambda n: "a" * 16 * n),
    "a host of marks": (lambda text: is_own_host(text, ()), lambda n: "a" + "\u0315\u0316" * n),
    "a token of dots": (lambda text: _unchecked(text, 1), lambda n: "." * 16 * n),
    "a token of many claims": (
        lambda text: _unchecked(text, 1),
        lambda n: token(members(n, lambda i: str(i % 2))),
    ),
    "a token of deep claims": (lambda text: _unchecked(text, 1), lambda n: token('{"a":' * n)),
    "the name of an upload": (UPLOAD_NAME.fullmatch, lambda n: "a." * 8 * n + "/"),
    "columns of a flow": (
        read_definition,
        lambda n: with_columns(columns={f"c{i}": {} for i in range(n // 10)}),
    ),
    "aliases of a flow": (read_definition, lambda n: with_columns(columns=aliases(n))),
    "accents of an alias": (
        read_definition,
        lambda n: with_columns(
            columns={f"c{i}": {"from": ["a" + "\u0315\u0316" * 99]} for i in range(n // 100)}
        ),
    ),
    "names of a header": (
        read_definition,
        lambda n: with_source(header="none", names=[f"n{i % 1000}" for i in range(n)]),
    ),
    "words for nothing": (read_definition, lambda n: with_source(null=[f"n{i}" for i in range(n)])),
    "a query": (lambda sql: with_parameter(sql, "?"), lambda n: "SELECT '" + "a" * 16 * n),
    "dollars of a query": (lambda sql: with_parameter(sql, "?"), lambda n: "$a$ $b$ " * 2 * n + "$c$"),
    "comments of a query": (lambda sql: with_parameter(sql, "?"), lambda n: "/* " * 4 * n + " */" * 2 * n),
    "rules of a flow": (
        read_definition,
        lambda n: with_columns(rules=[{"name": str(i), "sql": "a"} for i in range(n // 4)]),
    ),
    "unknown keys of a flow": (read_definition, lambda n: with_columns(**{f"k{i}": 1 for i in range(n)})),
    "an unknown choice": (read_definition, lambda n: with_columns(columns={"a": {"type": "string" * n}})),
    "an expression": (lambda sql: named_in([sql]), lambda n: "lume_" + "a" * 16 * n),
    "spaces of an expression": (lambda sql: named_in([sql]), lambda n: "lume_a" + " " * 16 * n + "x"),
    "a header of a flow file": (lambda text: line_of("a.b", text), lambda n: "[" + " " * n + "x"),
    "a closed header of a flow file": (lambda text: line_of("a.b", text), lambda n: "[a" + "] " * n + "x"),
    "quotes of a flow file": (lambda text: line_of("a.b", text), lambda n: "\"'" * n),
    "lines of a flow file": (lambda text: line_of("a.b", text), lambda n: "a = 1\n" * n),
    "keys below a long header of a flow file": (
        lambda text: line_of("a.b", text),
        lambda n: "[" + "a." * n + "a]\n" + "b = 1\n" * n,
    ),
    "rules of a flow file": (
        lambda text: line_of("rules[9].sql", text),
        lambda n: "[[rules]]\nname = 1\n" * n,
    ),
}


def quickest(parse: Callable[[Any], object], text: Any, times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.process_time()
        with contextlib.suppress(Problem, FlowError, LumeError, QueryRefused):
            parse(text)
        taken.append(time.process_time() - begun)
    return min(taken)


@pytest.mark.parametrize("case", CASES)
def test_sixteen_times_the_size_takes_no_square_of_the_time(case: str) -> None:
    parse, make = CASES[case]
    small = max(FLOOR, quickest(parse, make(SMALL), 5))
    large = quickest(parse, make(TIMES * SMALL), 3)

    assert large / small < AT_MOST
