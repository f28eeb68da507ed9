"""Diagnosis of the connection: each check in the order in which a request would meet the problem."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click
from attrs import frozen

from lume_async import (
    ApiError,
    AuthenticationError,
    Client,
    ConfigurationError,
    LumeError,
    PermissionDeniedError,
    ResponseDecodeError,
    Retry,
)
from lume_cli._health import NoResponse, probe
from lume_cli._options import GlobalOptions
from lume_cli._output import exit_codes
from lume_cli._output.text import duration
from lume_cli._server_file import ServerFile
from lume_cli._settings import ResolvedSettings, config_file, others_can_read, resolve

_SKEW = 30.0
"""The largest harmless clock skew, in seconds."""
_OLD_BACKUP = 7200.0
"""Seconds after which a backup is old: a server copies its state every hour."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_SPARE_URL = "http://127.0.0.1"
_SPARE_KEY = "spare"

State = Literal["ok", "warn", "fail"]


@frozen
class Finding:
    """The result of one check, with the remedy if it is not ok."""

    check: str
    state: State
    text: str
    fix: str = ""
    code: int = exit_codes.OK


def _failure(check: str, text: str, fix: str, code: int = exit_codes.ERROR) -> Finding:
    return Finding(check, "fail", text, fix, code)


async def findings(options: GlobalOptions) -> AsyncIterator[Finding]:
    """Yield the findings; stop when no further check is possible."""
    warnings: list[str] = []
    try:
        settings = resolve(options, warnings.append)
    except (ConfigurationError, click.UsageError) as error:
        text = error.format_message() if isinstance(error, click.UsageError) else str(error)
        yield _failure("configuration", text, "correct the file or the profile name")
        return
    yield _configuration(settings, warnings)
    key, url = _key(settings), _url(settings)
    yield key
    yield url
    if url.state == "fail" or not settings.base_url:
        return
    proxy = _proxy(settings.base_url)
    yield proxy
    if proxy.state == "fail":
        return
    reached = True
    for finding in _service(settings.base_url, settings.server):
        reached = reached and (finding.state != "fail" or finding.check == "clock")
        yield finding
    if reached and key.state != "fail":
        yield await _access(settings)


def _configuration(settings: ResolvedSettings, warnings: list[str]) -> Finding:
    path = config_file()
    if warnings:
        fix = f"chmod 600 {path}" if others_can_read(path) else "correct the file or the environment"
        return Finding("configuration", "warn", "; ".join(warnings), fix)
    used = f"profile [{settings.profile}] of {path}" if path.exists() else f"no file ({path}); it is optional"
    return Finding("configuration", "ok", used)


def _problem_with(make: Callable[[], Client]) -> str | None:
    """Return the reason why the client rejects its settings; None if it accepts them."""
    try:
        make()
    except ConfigurationError as error:
        return str(error)
    return None


def _key(settings: ResolvedSettings) -> Finding:
    if not settings.api_key:
        return _failure(
            "key",
            "no API key",
            f"set LUME_API_KEY, or add api_key to the profile [{settings.profile}] of {config_file()}",
            exit_codes.AUTHENTICATION,
        )
    origin = settings.origin["api_key"]
    if problem := _problem_with(lambda: Client(settings.api_key, base_url=_SPARE_URL, proxy=False)):
        return _failure("key", f"from {origin}: {problem}", "copy the key again", exit_codes.AUTHENTICATION)
    if settings.api_key != settings.api_key.strip(" \t\"'"):
        fix = f"remove them where {origin} is set"
        return Finding("key", "warn", f"from {origin}, surrounded by quotes or spaces", fix)
    return Finding("key", "ok", f"from {origin}")


def _url(settings: ResolvedSettings) -> Finding:
    if not settings.base_url:
        return _failure("url", "no base URL", "set LUME_BASE_URL, or start a server here with `lume serve`")
    origin = settings.origin["base_url"]
    if problem := _problem_with(lambda: Client(_SPARE_KEY, base_url=settings.base_url, proxy=False)):
        return _failure("url", settings.in_context(problem), f"correct {origin}")
    parts = urlsplit(settings.base_url)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        return Finding("url", "warn", f"{settings.base_url}: the key is sent unencrypted", "use https://")
    return Finding("url", "ok", f"{settings.base_url} from {origin}")


def _proxy(base_url: str) -> Finding:
    if problem := _problem_with(lambda: Client(_SPARE_KEY, base_url=base_url)):
        return _failure("proxy", problem, "correct the variable, or add the host to NO_PROXY")
    parts, proxies = urlsplit(base_url), getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found:
        return Finding("proxy", "ok", "none in the environment")
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    where = f"{proxy.scheme}://{proxy.hostname}:{proxy.port or 80}"  # never its password
    if proxy_bypass(parts.netloc):
        return Finding("proxy", "ok", f"{where}, not used for {parts.hostname} (NO_PROXY)")
    if parts.hostname in _LOCAL:
        return Finding(
            "proxy",
            "warn",
            f"requests to {parts.hostname} go through {where}",
            f"add {parts.hostname} to NO_PROXY",
        )
    return Finding("proxy", "ok", f"requests go through {where}")


def _service(base_url: str, server: ServerFile | None) -> Iterator[Finding]:
    """Check connection, service and clock; `server` comes from the nearest `.lume` folder, if its URL is used."""
    again = "start it again with `lume serve` and the options that it had"
    if server is not None and not server.is_running:
        yield _failure("connection", f"{base_url}: the server of {server.home} is not running", again)
        return
    try:
        answer = probe(base_url.rstrip("/"))
    except NoResponse as error:
        fix = error.fix if server is None else again
        yield _failure("connection", f"{base_url}: {error.reason}", fix)
        return
    encrypted = "TLS certificate trusted" if base_url.startswith("https:") else "without TLS"
    yield Finding("connection", "ok", f"{base_url} responds, {encrypted}")
    capabilities = answer.headers.get("Lume-Capabilities")
    if 300 <= answer.status < 400:
        place = answer.headers.get("Location", "another place")
        yield _failure("service", f"{base_url} redirects to {place}", "use that as the base URL")
    elif answer.status >= 500:
        reason = f": {answer.reason}" if answer.reason else ""
        yield _failure(
            "service",
            f"GET /healthz returned {answer.status}{reason}",
            "ask the operators, or try again later",
        )
    elif capabilities is None:
        fix = "check host, port and path of the base URL"
        yield Finding(
            "service", "warn", f"returned {answer.status} without capabilities: is this a Lume service?", fix
        )
    else:
        yield Finding("service", "ok", f"capabilities: {capabilities or 'none'}")
    for one in answer.waiting:
        yield Finding("waiting", "warn", one, "the server's log has the reason; the server keeps trying")
    if answer.skew is None:
        yield Finding("clock", "warn", "the service sends no Date header", "ask the operators")
    elif abs(answer.skew) > _SKEW:
        side = "ahead of" if answer.skew > 0 else "behind"
        text = f"this machine is {duration(abs(answer.skew))} {side} the service"
        yield _failure("clock", text, "set the clock: timedatectl set-ntp true")
    else:
        yield Finding("clock", "ok", "in sync with the service")
    if (age := answer.backup_age) is not None:
        text = f"the copy of the server's state is {duration(age)} old"
        fix = "it should be renewed every hour: ask the operators to read the server's log"
        yield Finding("backup", "warn", text, fix) if age >= _OLD_BACKUP else Finding("backup", "ok", text)


async def _access(settings: ResolvedSettings) -> Finding:
    """Check the key with one read-only request."""
    client = Client(
        settings.api_key,
        base_url=settings.base_url,
        request_timeout=settings.request_timeout,
        retry=Retry(attempts=1),
    )
    try:
        async with client:
            async for _run in client.list_runs(limit=1):
                break
    except AuthenticationError as error:
        denied = isinstance(error, PermissionDeniedError)
        text = f"listing runs was refused: {error}" if denied else "the service rejected the key (401)"
        wanted = "a key that may read runs" if denied else "a valid key for this service"
        fix = f"use {wanted}; this one is from {settings.origin['api_key']}"
        return _failure("access", text, fix, exit_codes.AUTHENTICATION)
    except ApiError as error:
        if error.status_code in (404, 405, 501):
            return Finding("access", "ok", "unknown: this service can't list runs")
        is_odd = isinstance(error, ResponseDecodeError)
        fix = "check host, port and path of the base URL" if is_odd else "try again; -v logs the requests"
        return _failure("access", f"listing runs failed: {error}", fix)
    except LumeError as error:
        return _failure("access", str(error), "-v logs the requests")
    return Finding("access", "ok", "the key is accepted")
