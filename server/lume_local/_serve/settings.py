"""The settings of a server: the options of `serve` with their defaults, checked before anything starts."""

import os
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.validators import optional

from lume_async._base import arguments
from lume_async._base.duration import seconds
from lume_async.errors import ConfigurationError
from lume_local._flow.definition import LEAST_SHARD, SHARD_BYTES
from lume_local._flow.urls import NotAnSftpUrl, NotAStoreUrl, is_sftp_url, is_store_url, split_store_url
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.deliveries.webhooks import WebhookRules
from lume_local._runs.purge import LEAST
from lume_local._runs.sources.paths import Roots
from lume_local._runs.store.audit import KEPT_AT_LEAST
from lume_local._serve.options import AnyPath, ServerOptions
from lume_local._sftp.root import SftpRoot
from lume_local._shards.executor import UnknownEngine, check_engine
from lume_local._shared.failing import require

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")
_LEAST_KEY = 16
"""The minimum length of a given key if other machines reach the server, so that it can't be guessed."""
_HERE = ("127.0.0.1", "localhost", "::1")
_LONGEST_HOST = 253
MOST_ACTIVE = 10_000
"""The maximum of `max_active`: the server has a task for each."""
_LONGEST = 1e10
"""The maximum of a duration in seconds: about 300 years, so that no date is before the year 1."""
_PRIVATE = ("keys", "tls_key", "archive", "arrivals")
"""The files of the server's own that no run may use."""
_PATHS = (*_PRIVATE, "flows", "tls_cert", "messages", "state", "work")


_refused = partial(arguments.validator, error=ConfigurationError)


def _whole(least: int, most: int | None = None) -> Any:
    """Return a validator for an optional whole number."""
    return optional(_refused(arguments.whole, least, most))


def _duration(name: str, default: timedelta | None, none: str = "for ever") -> Any:
    """Return a field in seconds, given as seconds or a timedelta, or None, which means `none`."""

    def converted(given: float | timedelta | None) -> float | None:
        if given is None:
            return None
        try:
            number = seconds(given, name)
        except TypeError as error:
            raise ConfigurationError(f"{error}; None is {none}") from None
        except ValueError:
            number = 0.0
        if not 0 < number <= _LONGEST:
            shown = arguments.shown(given)
            allowed = f"above 0 and at most {_LONGEST:,.0f} seconds (300 years)"
            raise ConfigurationError(f"{name} must be {allowed}, or None {none}, not {shown}")
        return number

    return field(default=default, converter=converted)


def _too_short(name: str, given: float, least: float) -> ConfigurationError:
    """Return the error for a retention below `least`: a bare number, such as 90, was probably meant as days."""
    fewest = least / 86400
    days = f"{given if fewest <= given <= 1000 else fewest:g}"
    amount, unit = (given, "second") if given < 86400 else (given / 86400, "day")
    shown = f"{amount:g} {unit}{'s' * (amount != 1)}"
    return ConfigurationError(
        f"{name} must be at least {fewest:g} day{'s' * (fewest != 1)}, not {shown}: write {days}d (in Python "
        f"timedelta(days={days})), or forever (None)"
    )


def _checked_engine(engine: str | None) -> str | None:
    if engine is not None:
        try:
            check_engine(arguments.text(engine, "engine", ConfigurationError))
        except (UnknownEngine, ModuleNotFoundError) as error:
            raise ConfigurationError(str(error)) from None
    return engine


def _names(console_hosts: Iterable[str]) -> tuple[str, ...]:
    names = tuple(arguments.several(console_hosts, "console_hosts", "host names", error=ConfigurationError))
    for name in names:
        if not (isinstance(name, str) and _HOST.fullmatch(name)):
            shown = arguments.shown(name)
            raise ConfigurationError(f"console_hosts: {shown} is not a host name such as lume.example.com")
    return names


def _places(
    roots: Sequence[AnyPath] | None,
    data: AnyPath,
    private: tuple[Path, ...],
    flows: Path | None,
    state: Path | None,
) -> Roots:
    home = _path(data, "data")
    named = () if roots is None else arguments.several(roots, "roots", "folders", error=ConfigurationError)
    given = (str(Path.cwd()), str(home)) if roots is None else tuple(_text(root, "roots") for root in named)
    if not given:
        raise ConfigurationError("roots is empty: name the folders that source files lie in")
    urls = [root.rstrip("/") for root in given if is_store_url(root)]
    folders = tuple(Path(root) for root in given if not (is_store_url(root) or is_sftp_url(root)))
    try:
        for url in urls:
            split_store_url(url)
        sites = tuple(SftpRoot.of(root) for root in given if is_sftp_url(root))
    except (NotAStoreUrl, NotAnSftpUrl) as error:
        raise ConfigurationError(f"roots: {error}") from None
    own = (*private, *(file for site in sites for file in site.private))
    return Roots.of(folders or (home,), home, tuple(urls), own, flows, state, sites)


def _text(value: AnyPath, name: str) -> str:
    return arguments.path(value, name, ConfigurationError)


def _path(value: AnyPath, name: str) -> Path:
    return Path(_text(value, name))


def _checked_key(api_key: str | None) -> str:
    if api_key is None:
        return secrets.token_urlsafe(24)
    return arguments.line(api_key, "api_key", error=ConfigurationError)


def _checked_url(url: str | None) -> str | None:
    """Return the URL without a slash at its end."""
    if url is None:
        return None
    arguments.text(url, "public_url", ConfigurationError)
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_address = False
    if not is_address or set(url) & set("?# "):
        raise ConfigurationError(
            "public_url must be an http:// or https:// URL without user, query and fragment, such as "
            "https://lume.example.com"
        )
    return url.rstrip("/")


@frozen(kw_only=True)
class ServerSettings:
    """The settings of one server; `serve` and `ServerOptions` describe them. Create them with `of`."""

    places: Roots
    flows: Path | None
    webhooks: WebhookRules
    lineage: LineageEvents | None
    messages: Path | None = None
    public_url: str | None = field(default=None, converter=_checked_url)
    host: str = field(default="127.0.0.1", validator=_refused(arguments.line, _LONGEST_HOST))
    port: int = field(default=0, validator=_refused(arguments.whole, 0, 65_535))
    api_key: str = field(default=None, converter=_checked_key, repr=False)
    keys: Path | None = None
    arrivals: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    dev: bool = field(default=False, validator=_refused(arguments.flag))
    console_hosts: tuple[str, ...] = field(default=(), converter=_names)
    max_active: int | None = field(default=None, validator=_whole(1, MOST_ACTIVE))
    run_timeout: float | None = _duration("run_timeout", timedelta(days=1))
    drain: float | None = _duration("drain", None, "for no time")
    engine: str | None = field(default=None, converter=_checked_engine, repr=False)  # may contain a token
    shard_bytes: int = field(default=SHARD_BYTES, validator=_refused(arguments.whole, LEAST_SHARD))
    max_upload_bytes: int = field(default=10 * 1024**3, validator=_refused(arguments.whole, 0))
    uploads_quota: int | None = field(default=None, validator=_whole(0))
    keep: float | None = _duration("keep", timedelta(days=30))
    keep_runs: float | None = _duration("keep_runs", None)
    archive: Path | None = None
    keep_audit: float | None = _duration("keep_audit", timedelta(days=400))
    keep_uploads: float | None = _duration("keep_uploads", None)
    keep_output: float | None = _duration("keep_output", None)
    state_env: str | None = field(default=None, validator=optional(_refused(arguments.line)))

    def __attrs_post_init__(self) -> None:
        if self.keep_runs is not None and self.keep_runs < LEAST:
            raise _too_short("keep_runs", self.keep_runs, LEAST)
        if self.archive is not None and self.keep_runs is None:
            raise ConfigurationError("archive needs keep_runs: without it no run is removed")
        if self.keep_audit is not None and self.keep_audit < KEPT_AT_LEAST:
            raise _too_short("keep_audit", self.keep_audit, KEPT_AT_LEAST)
        if len(self.api_key) < _LEAST_KEY and self.host not in _HERE:
            raise ConfigurationError(
                f"the api_key for {self.host} must have at least {_LEAST_KEY} characters: leave it "
                "out for a generated one, or use a long random one, such as `openssl rand -hex 24` prints"
            )
        if self.state_env is not None:
            if not os.environ.get(self.state_env):
                raise ConfigurationError(f"state_env: the variable {self.state_env[:100]} is not set")
            try:
                for module in ("psycopg", "psycopg_pool"):
                    require(module, "postgres", "state_env")
            except ModuleNotFoundError as error:
                raise ConfigurationError(str(error)) from None

    @property
    def state_url(self) -> str | None:
        """The URL of the state, if it is not in the data folder. A secret."""
        return None if self.state_env is None else os.environ.get(self.state_env)

    @property
    def shards(self) -> dict[str, Any] | None:
        return None if self.engine is None else {"url": self.engine, "shard_bytes": self.shard_bytes}

    @property
    def secrets(self) -> frozenset[str]:
        """Secrets that no other process needs to know."""
        lineage = None if self.lineage is None else self.lineage.key
        engine = self.engine if self.engine and "://" in self.engine else None  # may contain a token
        given = (self.api_key, lineage, engine, self.state_url, *map(os.fsdecode, self.webhooks.secrets))
        return frozenset(secret for secret in given if secret is not None)

    @classmethod
    def of(
        cls,
        flows: AnyPath | None,
        data: AnyPath,
        roots: Sequence[AnyPath] | None,
        options: ServerOptions,
        **named: Any,
    ) -> "ServerSettings":
        """Return the validated settings; `named` are the settings with a parameter of their own.

        Raises `ConfigurationError`; `TypeError` for an option that does not exist.
        """
        arguments.check_names(
            "serve", options, ServerOptions.__annotations__, *named, "flows", "data", "roots"
        )
        given: dict[str, Any] = {**options, **named, "flows": flows}
        for name in _PATHS:
            given[name] = None if (path := given.get(name)) is None else _path(path, name)
        state, work = given.pop("state"), given.pop("work")
        if work is not None:
            state, data = state or _path(data, "data") / "state", work
        if (given["tls_cert"] is None) is not (given["tls_key"] is None):
            raise ConfigurationError("tls_cert and tls_key belong together: name both files, or neither")
        given["archive"] = given["archive"] and given["archive"].absolute()
        given["messages"] = given["messages"] or given["arrivals"]
        private = tuple(given[name] for name in _PRIVATE if given[name] is not None)
        return cls(
            places=_places(roots, data, private, given["flows"], state),
            webhooks=WebhookRules.of(given.pop("webhook_secret", None), given.pop("webhook_hosts", ())),
            lineage=LineageEvents.of(
                given.pop("lineage_url", None),
                given.pop("lineage_namespace", "lume"),
                given.pop("lineage_key", None),
            ),
            **given,
        )
