"""What checks are made with: requests that are sent as they are, and responses that must have a form."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import aiohttp
import orjson
from attrs import define, field
from yarl import URL

from lume_async import RunStatus
from lume_async._base.elided import elided
from lume_async._base.secret import Secret
from lume_async._wire.withhold import redact

MISSING = (404, 405, 501)
"""The statuses of a route that a server does not have."""
FLOW = {"flow": "lume_conformance", "version": "v1", "columns": {"id": {"type": "integer", "required": True}}}
"""The kit's own flow version: other content needs another version, for servers that have this one."""
DATA = b"id,word\n" + b"".join(b"%d,{new}\n" % n for n in range(9)) + b"none,{new}\n,{new}\n"
"""Its data: two rows are rejected, for different reasons."""
_MOST_BYTES, _MOST_HEADERS = 4 * 1024 * 1024, 30
_TIME = r"\d{4}-\d\d-\d\d[Tt][\d:]{8}(\.\d+)?([Zz]|[+-]00:00)"
_RUN = {"id": r"[A-Za-z0-9_-]{1,128}", "status": "[A-Z_]+", "flow_version": ".+", "source_path": ".+"}
_RUN |= {"created_at": _TIME, "started_at": f"None|{_TIME}", "finished_at": f"None|{_TIME}"}
_RUN |= {"run_metadata": r"None|\{.*", "force_rerun": "True|False", "metadata": r"\{.*"}
"""The members of a run, and the form of each as Python shows it."""


class Unmet(Exception):
    """The server does not meet a requirement: a message, and the exchange that shows it, if one does."""


class NotOffered(Exception):
    """The server does not have what a check is about."""


@define
class Exchange:
    """A request, and the response as it came; its status is 0 if there was none."""

    method: str
    path: str
    sent: Mapping[str, str]
    content: bytes
    status: int = 0
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    seconds: float = 0.0

    def must(self, holds: object, message: str) -> None:
        """Raise `Unmet` unless the condition holds."""
        if not holds:
            raise Unmet(message, self)

    def expect(self, *statuses: int) -> "Exchange":
        """Return this exchange if it has one of the statuses."""
        self.must(self.status in statuses, f"expected {' or '.join(map(str, statuses))}, got {self.status}")
        return self

    def offered(self, *lacking: int, remedy: str = "") -> "Exchange":
        """Return this exchange. Raises `NotOffered` if the server does not have the route."""
        if self.status in (*MISSING, *lacking):
            raise NotOffered(f"{self.method} {self.path} is answered with {self.status}{remedy}")
        return self

    def json(self, *statuses: int) -> dict[str, Any]:
        """Return the JSON object of a response."""
        try:
            return {**orjson.loads(self.expect(*statuses).body)}
        except (TypeError, ValueError) as error:
            raise Unmet(f"expected a JSON object: {error}", self) from None

    def run(self, *statuses: int, of: Any = None, **members: object) -> dict[str, Any]:
        """Return the run of a response, or `of` it; it must have these members."""
        run = self.json(*statuses) if of is None else {**of}
        for name, form in _RUN.items():
            self.must(name in run, f"{name} is missing")
            self.must(re.fullmatch(form, str(run[name]), re.DOTALL), f"{name} is {run[name]!r}")
        for name, value in members.items():
            self.must(run[name] == value, f"{name}: expected {value!r}, got {run[name]!r}")
        return run

    def problem(self, *statuses: int, kind: str = "", names: str = "") -> dict[str, Any]:
        """Return the problem of a response; it must be of this kind, and name this field."""
        found = self.json(*statuses)
        self.must(str(found.get("type")).endswith(kind), f"type is {found.get('type')!r}, not {kind!r}")
        self.must(names in f"{found.get('field')} {found.get('detail')}", f"it does not name {names}")
        return found

    def items(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the items of a page."""
        items, _ = (found := self.json(200))["items"], found["next_cursor"]
        self.must(len(items) <= limit, f"there are more than {limit} items")
        return [{**item} for item in items]

    def lines(self, text: Callable[[str], str]) -> Iterator[str]:
        """Yield the request and the response for people."""
        request = ">", f"{self.method} {self.path}", self.sent, self.content
        response = "<", f"{self.status or 'no response'}", self.headers, self.body
        for sign, first, headers, body in (request, response):
            named = [f"{name}: {value}" for name, value in list(headers.items())[:_MOST_HEADERS]]
            lines = [first, *named, body.decode("utf-8", "replace")]
            yield from (f"{sign} {one}" for line in lines for one in text(line).splitlines())


@define
class Result:
    """The result of a check: "pass", "fail" or "not offered"; with the exchange that failed."""

    check: str
    requirement: str
    state: str = "pass"
    message: str = ""
    seconds: float = 0.0
    exchange: list[str] = field(factory=list)


@define
class Kit:
    """The checked server.

    Attributes:
        limit: the seconds that a response may take, and `patience` those of a check.
        flow: the flow version to run; None for the kit's own, which is registered.
        source: the path of its sources; None: `data` is uploaded. `{new}` is a new word in both.
        require: the capabilities that must be offered.
    """

    http: aiohttp.ClientSession
    base_url: str
    key: Secret | None
    limit: float
    patience: float
    flow: str | None
    source: str | None
    data: bytes
    require: Sequence[str]
    report: Callable[[Result], None]
    log: list[Exchange] = field(factory=list)
    _ended: Exchange | Unmet | None = None

    @asynccontextmanager
    async def check(self, check: str, requirement: str) -> AsyncIterator[None]:
        """Report whether the block finds, in time, that the server meets a requirement."""
        result, began, failed = Result(check, requirement), time.monotonic(), None
        limit = self.patience * (1 if "." in check else 20)  # a capability has several checks
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError:
            result.state, result.message, failed = "fail", f"not done after {limit:g} s", self.log[-1]
        except NotOffered as reason:
            is_required = check.partition(".")[0] in ("core", *self.require)
            result.state, result.message = "fail" if is_required else "not offered", str(reason)
        except Unmet as error:
            result.state, (result.message, failed) = "fail", error.args
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            result.state, failed = "fail", self.log[-1]
            result.message = f"the response has another form: {error!r}"
        result.message, result.seconds = self._text(result.message), time.monotonic() - began
        result.exchange = list(failed.lines(self._text)) if failed else []
        if "." in check or result.state != "pass":  # a capability's checks have results of their own
            self.report(result)

    def _text(self, text: str) -> str:
        return elided(redact(text, self.key))

    def announces(self, capability: str) -> None:
        """Raise `NotOffered` unless a response has named the capability."""
        texts = [one.headers.get("Lume-Capabilities", "").lower() for one in self.log]
        if not any(capability in map(str.strip, text.split(",")) for text in texts):
            raise NotOffered(f"Lume-Capabilities does not name {capability}")

    async def ask(
        self, method: str, path: str, content: object = b"", *, key: str | None = "", **headers: str
    ) -> Exchange:
        """Send a request, with bytes or JSON; after a 429 again, later. Raises `Unmet` if nothing answers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if not isinstance(content, bytes):
            content, sent = orjson.dumps(content), {"Content-Type": "application/json"} | sent
        key, url = self.key if key == "" else key, URL(self.base_url + path, encoded=True)
        limit = self.limit + float(sent.get("Prefer", "wait=0").removeprefix("wait="))
        given: Any = {
            "headers": sent | ({"lume-api-key": Secret(key)} if key else {}),
            "data": content or None,
        }
        while True:
            self.log.append(exchange := Exchange(method, path, sent, content))
            began, request = time.monotonic(), self.http.request(method, url, allow_redirects=False, **given)
            try:
                async with asyncio.timeout(limit), request as response:
                    async for chunk in response.content.iter_any():
                        exchange.body += chunk
                        exchange.must(len(exchange.body) <= _MOST_BYTES, "the body is longer than 4 MiB")
            except (aiohttp.ClientError, OSError, ValueError) as error:
                why = " ".join(str(error).split()) or type(error).__name__
                raise Unmet(f"no response within {limit:g} s: {why}", exchange) from None
            exchange.status, exchange.headers = response.status, response.headers
            exchange.seconds = time.monotonic() - began
            if exchange.status != 429:
                return exchange
            later = exchange.headers.get("Retry-After", "")
            await asyncio.sleep(int(later) if later.isdigit() else 1)

    async def new_source(self) -> str:
        """Return the path of a new source."""
        word = uuid4().hex
        if self.source is not None:
            return self.source.replace("{new}", word)
        path, content = f"/v1/uploads/conformance-{word}.csv", self.data.replace(b"{new}", word.encode())
        stored = (await self.ask("PUT", path, content)).offered(remedy=": name its sources, --source")
        return str(stored.json(201)["source_path"])

    async def register(self) -> str:
        """Register the kit's flow version; return its path."""
        path = f"/v1/flows/{FLOW['flow']}/versions/{FLOW['version']}"
        sent = await self.ask("PUT", path, FLOW)
        sent.offered(403, remedy=": name its flow version, --flow").expect(200, 201)
        return path

    async def submit(self, source: str | None = None, key: str | None = None, **members: object) -> Exchange:
        """Submit a run of this source, or a new one, with this key, or a new one."""
        if self.flow is None:
            await self.register()
            self.flow = f"{FLOW['flow']}:{FLOW['version']}"
        source = source or await self.new_source()
        body = {"flow_version": self.flow, "source_path": source, "force_rerun": False, **members}
        return await self.ask("POST", "/v1/runs", body, Idempotency_Key=key or uuid4().hex)

    async def end(self, begun: Exchange) -> Exchange:
        """Poll a run until it has ended."""
        path = f"/v1/runs/{begun.run(200, 201)['id']}"
        while True:
            asked = await self.ask("GET", path)
            if RunStatus(asked.run(200)["status"]).is_terminal:
                return asked
            await asyncio.sleep(0.1)

    async def ended(self) -> Exchange:
        """Return the first run, which has ended with an output; its failure is one of all who ask, shown once."""
        if self._ended is None:
            self._ended = Unmet("no run has ended with an output: see the first failure", None)
            asked = await self.end(await self.submit())
            run = asked.run(200)
            why = f"{run['status']}: {run['metadata'].get('error_message')}: name another source"
            asked.must(run["status"] in ("SUCCEEDED", "PARTIAL_FAILED"), f"the run has ended {why}")
            self._ended = asked
        if isinstance(self._ended, Unmet):
            raise self._ended
        return self._ended

    async def items(self, path: str, limit: int = 100, **query: object) -> list[dict[str, Any]]:
        """Return the items of all pages of a list."""
        found, more = list[dict[str, Any]](), ""
        path = f"{path}?{urlencode({**query, 'limit': limit}, quote_via=quote)}"
        while True:
            page = await self.ask("GET", f"{path}{more}")
            found += page.items(limit)
            if (cursor := page.json(200)["next_cursor"]) is None:
                return found
            more = f"&cursor={quote(cursor, '')}"
