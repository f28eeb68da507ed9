"""`Client`: its settings, its start and end, and one short public method per operation."""

import os
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import ClassVar, NoReturn, Self, TypedDict

from attrs import evolve

import lume_async  # for annotations: its names are loaded on use
from lume_async._base import arguments
from lume_async._base.backoff import Backoff, PollInterval
from lume_async._base.batched import Items
from lume_async._base.clock import SystemClock
from lume_async._base.duration import Duration, optional_seconds, seconds
from lume_async._base.public import public
from lume_async._base.secret import veiled, veiled_headers
from lume_async._http.checks import checked_headers, merged_headers
from lume_async._http.events import Hook, Observer
from lume_async._http.sender import Sender
from lume_async._http.settings import MEBIBYTE, ApiKey, Proxy, Settings, Ssl, checked_timeout, settings
from lume_async._http.transport import AiohttpTransport, Transport
from lume_async._operations.flows import Flows
from lume_async._operations.many import ManyRuns
from lume_async._operations.rejects import RejectedRows
from lume_async._operations.reports import Reports
from lume_async._run.handle import LumeRun, start, started, wait_until_ended
from lume_async._run.poll import fetch
from lume_async._run.submit import OnDuplicate, check_on_duplicate
from lume_async._run.transfer import OnProgress, Reporter, SeedData, SourceData
from lume_async._wire.retry import Retry
from lume_async._wire.service import LUME, Service, check_carried
from lume_async.errors import ConfigurationError, InvalidRequestError
from lume_async.models import Json, JsonObject, RunRequest, check_run_id


@public
class ClientOptions(TypedDict, total=False):
    """Further arguments of `Client`, for functions that pass them on (`**options: Unpack[ClientOptions]`)."""

    request_timeout: Duration | None
    retry: Retry
    max_connections: int
    proxy: Proxy
    ssl: Ssl
    user_agent: str | None
    max_response_bytes: int
    headers: Mapping[str, str] | None
    token: ApiKey | None
    hooks: Iterable[Hook]
    transport: Transport | Callable[[Transport], Transport] | None


@public
class Client(ManyRuns, Flows, Reports, RejectedRows):
    """A client of one Lume service; usable from any number of tasks, threads and event loops.

    It opens no connection and starts nothing until the first call. Closing is recommended but optional:
    its connections end with their event loop.

    Args:
        api_key: the key, or a function (plain or asynchronous) that returns it and is called before each request;
            default: `LUME_API_KEY`.
        base_url: the address of the service, such as `https://lume.example.com`; default: `LUME_BASE_URL`.
        request_timeout: seconds (or a `timedelta`) that one attempt of one request may take; default:
            `LUME_REQUEST_TIMEOUT`, or 60.
        retry: when and how often a failed request is retried; `Retry(attempts=1)` never retries.
        max_connections: the maximum number of concurrent requests in an event loop (`lume_sync` has one for all
            threads); others wait for a request slot.
        proxy: the URL of a proxy, None for the one of the environment (`HTTPS_PROXY`, `NO_PROXY` …), False for none.
        ssl: None for the default trust store (`SSL_CERT_FILE` is honoured), an `ssl.SSLContext`, or the path of
            a CA file.
        user_agent: text to put in front of the library's `User-Agent`.
        max_response_bytes: the largest response that is accepted, in bytes after decompression.
        headers: headers for every request, for gateways in between. Values of headers with names like `token` are
            kept secret, as the key is.
        token: a bearer token for `Authorization`, or a function (plain or asynchronous) that returns one and is
            called anew when the service refuses the last one (401); with a token, the API key is optional.
        hooks: functions that are called with each event (`RequestFinished`, `RunStatusChanged` …) on the event loop.
        transport: for tests and gateways: a `Transport`, or a function that takes the default one and returns yours.
            It is called on the event loop, and closed with this client. `proxy` and `ssl` are for the default one.

    Raises:
        ConfigurationError: a setting is missing or not valid; the message names the argument and the variable.

    Examples:
        >>> async with Client(request_timeout=30, retry=Retry(attempts=5)) as client:
        ...     run = await client.run("customer_cleaner:v1", "customers.csv", on_duplicate="attach")
    """

    _service: ClassVar[Service] = LUME

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        base_url: str | None = None,
        request_timeout: Duration | None = None,
        retry: Retry = Retry(),  # noqa: B008 - frozen
        max_connections: int = 100,
        proxy: Proxy = None,
        ssl: Ssl = None,
        user_agent: str | None = None,
        max_response_bytes: int = 32 * MEBIBYTE,
        headers: Mapping[str, str] | None = None,
        token: ApiKey | None = None,
        hooks: Iterable[Hook] = (),
        transport: Transport | Callable[[Transport], Transport] | None = None,
    ) -> None:
        api_key, base_url, proxy = veiled(api_key), veiled(base_url), veiled(proxy)
        headers, token = veiled_headers(headers), veiled(token)
        make: Callable[[Settings], Transport] = AiohttpTransport
        if transport is not None:
            from lume_async._http.own_transport import chosen_transport

            proxy, make = chosen_transport(transport, make, proxy, ssl)
        chosen = settings(
            api_key,
            base_url=base_url,
            request_timeout=request_timeout,
            max_connections=max_connections,
            max_response_bytes=max_response_bytes,
            proxy=proxy,
            ssl=ssl,
            user_agent=user_agent,
            token=token,
            headers=headers,
        )
        made = make(chosen)
        clock = getattr(made, "clock", None)  # that of a test
        self._sender = Sender(
            chosen,
            made,
            self._service,
            retry=_checked_retry(retry),
            clock=SystemClock() if clock is None else clock,
            rng=random.Random() if clock is None else random.Random(0),  # noqa: S311 - jitter
            observer=Observer(hooks),
        )
        self._is_view = False

    def with_options(
        self,
        *,
        request_timeout: Duration | None = None,
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Client":
        """Return a client with other settings on the same connections; it costs next to nothing.

        It shares the connections, the request slots, the throttle and the knowledge of the server. Closing it
        closes nothing; it ends with this client.

        Args:
            request_timeout: seconds (or a `timedelta`) per attempt; default: as this client.
            retry: when and how often a failed request is retried; default: as this client. The longest
                `Retry-After` that slows down other requests remains this client's.
            headers: headers in addition to this client's; one with the same name replaces it.

        Raises:
            ConfigurationError: a setting is not valid.

        Examples:
            >>> patient = client.with_options(request_timeout=300, headers={"X-Team": "sales"})
        """
        headers = veiled_headers(headers)
        now = self._sender.settings
        more = checked_headers(headers, has_token=now.token is not None)
        chosen = evolve(
            now,
            request_timeout=now.request_timeout
            if request_timeout is None
            else checked_timeout(request_timeout),
            headers=merged_headers(now.headers, more),
        )
        view = Client.__new__(Client)
        view._sender = self._sender.view(
            chosen, _checked_retry(self._sender.retry if retry is None else retry)
        )
        view._is_view = True
        return view

    @property
    def base_url(self) -> str:
        """The address of the service."""
        return self._sender.settings.base_url

    async def run(
        self,
        flow_version: str,
        source_path: str | None = None,
        run_metadata: JsonObject | None = None,
        force_rerun: bool = False,
        *,
        data: SourceData | None = None,
        seeds: SeedData | None = None,
        layout: str | None = None,
        idempotency_key: str | None = None,
        on_duplicate: OnDuplicate = "raise",
        webhook_url: str | None = None,
        priority: int = 0,
        progress: OnProgress | None = None,
    ) -> LumeRun:
        """Start a run and return at once; `LumeRun.wait` waits for it to finish.

        Every attempt of this call carries the same idempotency key, so that a lost answer never leads to a second
        run. If the client can't find out whether a run exists, it raises `SubmissionUnknownError`.

        Args:
            flow_version: the flow and its version, such as `customer_cleaner:v1`.
            source_path: the file's URI or the batch identifier that the flow's source understands.
            run_metadata: a JSON object of your own; it is returned with the run and sent with its webhook.
            force_rerun: process the source even if it was processed before; may duplicate rows in the target.
            data: in place of `source_path`: the path of a file of yours, bytes, a binary file, an iterable of bytes
                or of rows (dicts), or a table of pandas, polars or pyarrow; rows and tables are written in the format
                that the flow version reads. It is uploaded first. For the same data again, the earlier run is
                returned with `reused=True`, unless it wrote nothing, or with `force_rerun`.
            seeds: replacements for seeds of the flow version, by name: the path of a CSV file of yours, bytes, a
                binary file, rows or a table, which is uploaded; or the source path of an upload. The flow
                version must allow it (`per_run = true`). The same source with other seeds is another source.
            layout: the layout of all files of the source, one of the flow version's; default: the layout of each file
                is recognised. The same source with another layout is another source.
            idempotency_key: a key of your own that is stable across restarts of your program; default: a new one.
            on_duplicate: if a run holds the source, "raise" `DuplicateRunError`, or "attach" to return that run. If
                the source has changed since that run read it, the error is raised in either case.
            webhook_url: where the server reports the end of the run, in addition to its own webhooks.
            priority: 0 to 9; runs with a higher priority begin first. Above 0 the key needs the role admin.
            progress: as in `upload`, for `data`.

        Raises:
            DuplicateRunError: the source was processed or is being processed; `.run_id` is the run that holds it, and
                `.source_changed` says whether the source has changed since.
            InvalidRequestError: an argument or the flow version is not valid.
            SubmissionUnknownError: the answer was lost and sending it again was not safe: a run may exist.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> run = await client.run("customer_cleaner:v1", "january.csv", {"team": "sales"})
            >>> await run.wait()
            >>> print(run.status, run.metadata.metrics.rows_rejected)
            PARTIAL_FAILED 1
        """
        check_on_duplicate(on_duplicate)
        if (source_path is None) == (data is None):
            raise InvalidRequestError("pass either source_path or data=...; no request was sent")
        source = "data" if source_path is None else source_path
        request = RunRequest(
            flow_version,
            source,
            run_metadata,
            force_rerun,
            idempotency_key,
            webhook_url,
            priority,
            layout=layout,
        )
        if seeds is not None or data is not None:
            check_carried(self._sender.service, request, seeds=seeds, data=data)
        Reporter(progress)  # checks it, before anything is sent
        if seeds is not None:
            from lume_async._run.data_in import sent_seeds

            request = evolve(request, seeds=await sent_seeds(self._sender, flow_version, seeds))
        if data is not None:
            from lume_async._run.data_in import run_data

            return started(self._sender, await run_data(self._sender, request, data, progress))
        return await start(self._sender, request, on_duplicate)

    async def run_status(self, run_id: str) -> LumeRun:
        """Get the current state of a run.

        Raises:
            RunNotFoundError: the server has no run with this ID.
            InvalidRequestError: `run_id` is malformed; no request was sent.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> run = await client.run_status(run.id)
        """
        record = await fetch(self._sender, run_id)
        return LumeRun(self._sender, record.id, record)

    def attach(self, run_id: str) -> LumeRun:
        """Return a handle on an existing run. No request is sent; `status` is None until the first poll.

        Raises:
            InvalidRequestError: `run_id` is malformed.

        Examples:
            >>> run = client.attach(run.id)
            >>> await run.refresh()
        """
        return LumeRun(self._sender, check_run_id(run_id))

    async def wait_for_run_completion(
        self,
        run_id: str,
        max_attempts: int = 10,
        initial_delay: Duration = 5,
        *,
        max_delay: Duration = 60,
        timeout: Duration | None = None,
    ) -> LumeRun:
        """Poll a run until it has ended, in whatever status, with delays that double: 5, 10, 20, 40, 60, 60 … s.

        This is the recipe of Lume's documentation as a function. `LumeRun.wait` notices the end sooner.

        Args:
            max_attempts: the maximum number of polls.
            initial_delay: the first delay, seconds or a `timedelta`.
            max_delay: the longest delay, seconds or a `timedelta`.
            timeout: seconds (or a `timedelta`) for the whole call; None for no limit except `max_attempts`.

        Returns:
            The run in its terminal status, even if it FAILED.

        Raises:
            RunTimeoutError: the run had not ended at the last poll. It is a `TimeoutError`.
            ApiError: the server refuses access to the run.

        Examples:
            >>> run = await client.wait_for_run_completion(run.id, max_attempts=20)
        """
        arguments.whole(max_attempts, "max_attempts")
        longest = seconds(max_delay, "max_delay")
        first = min(seconds(initial_delay, "initial_delay"), longest)
        run = self.attach(run_id)
        await wait_until_ended(
            run,
            Backoff(first, maximum=longest, jitter=0.0),
            optional_seconds(timeout, "timeout"),
            max_probes=max_attempts,
            long_poll=False,
        )
        return run

    def watch(
        self, run: LumeRun | str, *, poll_interval: PollInterval = None, timeout: Duration | None = None
    ) -> Items[LumeRun]:
        """Follow a run, given as a handle or an ID; see `LumeRun.watch`.

        Examples:
            >>> async for state in client.watch(run.id):
            ...     print(state.status)
        """
        handle = run if isinstance(run, LumeRun) else self.attach(run)
        return handle.watch(poll_interval=poll_interval, timeout=timeout)

    async def upload(
        self,
        source: SourceData,
        *,
        name: str | None = None,
        flow_version: str | None = None,
        progress: OnProgress | None = None,
    ) -> str:
        """Send data of this program to the server's staging area; return the `source_path` to pass to `run`.

        If the connection breaks, the upload is continued, as often as the client's `Retry` allows; attempts that
        bring the server more of the file don't count. If the server can't continue it, everything is sent again.

        Args:
            source: the path of a file, bytes, a binary file, a plain or asynchronous iterable of bytes or of rows
                (dicts), or a table of pandas, polars or pyarrow. Anything but a file becomes a temporary file.
                An index of pandas becomes columns if it has names; without one, it may only number the rows.
            name: the name of the file on the server; the client puts a unique prefix in front.
            flow_version: the flow version that the data is for. Rows and tables are written in the format that it
                reads; without it, tables as Parquet and other rows as NDJSON.
            progress: called with the number of bytes sent and their total. The number decreases if the connection
                broke and the server lacks a part of them, which is sent again.

        Raises:
            InvalidRequestError: `source` can't be sent, or the server refused it.
            NotSupportedError: the server takes no uploads.
            MissingLibraryError: Parquet is to be written, and pyarrow is not installed.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> path = await client.upload([{"Customer ID": 1, "Name": "Ann"}], flow_version="customer_cleaner:v1")
        """
        from lume_async._run.data_in import send_data

        return await send_data(self._sender, source, name=name, flow_version=flow_version, progress=progress)

    async def upload_file(self, path: str | os.PathLike[str], *, flow_version: str | None = None) -> str:
        """Stream a local file to the server's staging area (beta); return the `source_path` to pass to `run`.

        Args:
            flow_version: the flow version that the file is for, if the server needs to know.

        Raises:
            InvalidRequestError: the file does not exist, or the server refused it.
            NotSupportedError: the server takes no uploads.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> path = await client.upload_file("customers.csv", flow_version="customer_cleaner:v1")
        """
        from lume_async._run.upload import upload

        return await upload(self._sender, path, flow_version)

    async def request(
        self, method: str, path: str, *, json: Json = None, headers: Mapping[str, str] | None = None
    ) -> "lume_async.Answer":
        """Send a request for which there is no method; return the answer as it came.

        Key, token, time limit, connections, retries and errors are those of all calls. POST and PATCH are not sent
        again once they may have arrived: then the error is raised, and you decide.

        Args:
            method: GET, HEAD, OPTIONS, PUT, DELETE, POST or PATCH.
            path: the path below the base URL, such as `/v1/runs?limit=5`, percent-encoded.
            json: the body, as a value of JSON; None for no body.
            headers: headers in addition to this client's; one with the same name replaces it.

        Raises:
            InvalidRequestError: the path leaves the base URL, or `json` is not JSON; or the server refused it.
            ConfigurationError: a header is not valid, or the client sets it itself, such as `lume-api-key`.
            ApiError: the status is not 2xx (304 is accepted with `If-None-Match`): see the tree in
                `lume_async.errors`.

        Examples:
            >>> answer = await client.request("GET", "/v1/runs?limit=1")
            >>> print(answer.status, len(answer.json()["items"]))
            200 1
        """
        headers = veiled_headers(headers)
        from lume_async._operations.answers import request

        return await request(self._sender, method, path, json, headers)

    def answers(self) -> "AbstractContextManager[list[lume_async.Answer]]":
        """Collect what the server answers to the calls inside a block, each attempt, with errors, as a list.

        It collects the answers to this client and its views from `with_options`, in the task (or thread) of the block
        and in the tasks that it starts: the last 100 of them, with at most 32 MiB of bodies.

        Examples:
            >>> with client.answers() as seen:
            ...     run = await client.run_status(run.id)
            >>> print(seen[-1].status, seen[-1].headers["etag"] is not None)
            200 True
        """
        from lume_async._operations.answers import collecting

        return collecting(self._sender)

    async def aclose(self) -> None:
        """Close the connections. Calls in progress, waits included, and later calls raise `ClientClosedError`.

        Closing a client from `with_options` has no effect, as it has no connections of its own.

        Examples:
            >>> client = Client()
            >>> await client.aclose()
        """
        if not self._is_view:
            await self._sender.aclose()

    async def __aenter__(self) -> Self:
        """Return the client; it is closed at the end of the block."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the client."""
        await self.aclose()

    def __repr__(self) -> str:
        """Return the address of the service, never the key."""
        sender = getattr(self, "_sender", None)
        return f"Client({sender.settings.base_url!r})" if sender else "Client(unfinished)"

    def __reduce__(self) -> NoReturn:
        """Refuse to pickle a client: it holds a key and connections."""
        raise TypeError(
            "a Client can't be pickled: pickle run handles, and create the client where they are loaded"
        )


def _checked_retry(retry: Retry) -> Retry:
    return arguments.instance(retry, "retry", Retry, "a Retry, such as Retry(attempts=1)", ConfigurationError)
