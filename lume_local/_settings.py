"""The settings of a server: the options of `serve` with their defaults, checked before anything starts."""

import math
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

from lume_async.errors import ConfigurationError
from lume_local._flow.sharding import LEAST_SHARD, SHARD_BYTES
from lume_local._flow.store_urls import NotAStoreUrl, is_store_url, split_store_url
from lume_local._options import AnyPath, ServerOptions
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.deliveries.webhooks import WebhookRules
from lume_local._runs.sources.paths import Roots
from lume_local._shards.engines.executors import UnknownEngine, check_engine

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")
_LONGEST = 1e10
"""Seconds: about 300 years, so that no date is before the year 1."""


def _at_least(least: int) -> Any:
    def check(_settings: object, attribute: "Attribute[int | None]", value: int | None) -> None:
        if value is not None and value < least:
            raise ConfigurationError(f"{attribute.name} must be at least {least}, not {value}")

    return check


def _duration(name: str, default: timedelta | None) -> Any:
    """A field in seconds, given as seconds or a timedelta; None for no limit."""

    def seconds(given: float | timedelta | None) -> float | None:
        if given is None:
            return None
        number = given.total_seconds() if isinstance(given, timedelta) else float(given)
        if math.isnan(number) or not 0 < number <= _LONGEST:
            raise ConfigurationError(f"{name} must be above 0 seconds, or None for ever, not {given!r}")
        return number

    return field(default=default, converter=seconds)


def _checked_engine(engine: str | None) -> str | None:
    if engine is not None:
        try:
            check_engine(engine)
        except (UnknownEngine, ModuleNotFoundError) as error:
            raise ConfigurationError(str(error)) from None
    return engine


def _names(console_hosts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(console_hosts, str):
        raise ConfigurationError("console_hosts is one string: pass a list of host names")
    names = tuple(console_hosts)
    for name in names:
        if not _HOST.fullmatch(name):
            raise ConfigurationError(f"console_hosts: {name!r} is not a host name such as lume.example.com")
    return names


def _places(
    roots: Sequence[AnyPath] | None, data: AnyPath, private: tuple[Path, ...], flows: AnyPath | None
) -> Roots:
    home = Path(data)
    given = (Path.cwd(), home) if roots is None else tuple(roots)
    if not given:
        raise ConfigurationError("roots is empty: name the folders that source files lie in")
    urls = [str(root).rstrip("/") for root in given if is_store_url(str(root))]
    folders = tuple(Path(root) for root in given if not is_store_url(str(root)))
    for url in urls:
        try:
            split_store_url(url)
        except NotAStoreUrl as error:
            raise ConfigurationError(f"roots: {error}") from None
    return Roots.of(
        folders or (home,),
        home,
        tuple(urls),
        private,
        None if flows is None else Path(flows),
    )


def _checked_key(api_key: str | None) -> str:
    if api_key is None:
        return secrets.token_urlsafe(24)
    if not api_key or not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip():
        raise ConfigurationError("api_key must be visible ASCII characters, at least one")
    return api_key


@frozen(kw_only=True)
class ServerSettings:
    """The settings of one server; `ServerOptions` describes them. Create them with `of`."""

    places: Roots
    flows: Path | None
    webhooks: WebhookRules
    lineage: LineageEvents | None
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str = field(default=None, converter=_checked_key, repr=False)
    keys: Path | None = None
    dev: bool = False
    console_hosts: tuple[str, ...] = field(default=(), converter=_names)
    max_active: int | None = field(default=None, validator=_at_least(1))
    run_timeout: float | None = _duration("run_timeout", timedelta(days=1))
    engine: str | None = field(default=None, converter=_checked_engine, repr=False)  # it may hold a token
    shard_bytes: int = field(default=SHARD_BYTES, validator=_at_least(LEAST_SHARD))
    max_upload_bytes: int = field(default=10 * 1024**3, validator=_at_least(0))
    uploads_quota: int | None = field(default=None, validator=_at_least(0))
    keep: float | None = _duration("keep", timedelta(days=30))
    keep_uploads: float | None = _duration("keep_uploads", None)
    keep_output: float | None = _duration("keep_output", None)

    @property
    def shards(self) -> dict[str, Any] | None:
        """The settings of the engine for runs."""
        return None if self.engine is None else {"url": self.engine, "shard_bytes": self.shard_bytes}

    @classmethod
    def of(
        cls, flows: AnyPath | None, data: AnyPath, roots: Sequence[AnyPath] | None, options: ServerOptions
    ) -> "ServerSettings":
        """The validated settings. Raises `ConfigurationError`; `TypeError` for an option that does not exist."""
        given: dict[str, Any] = dict(options)
        if unknown := given.keys() - ServerOptions.__annotations__.keys():
            raise TypeError(f"serve() got an unexpected keyword argument {min(unknown)!r}")
        keys = given.pop("keys", None)
        keys = None if keys is None else Path(keys)
        return cls(
            places=_places(roots, data, () if keys is None else (keys,), flows),
            flows=None if flows is None else Path(flows),
            webhooks=WebhookRules.of(given.pop("webhook_secret", None), given.pop("webhook_hosts", ())),
            lineage=LineageEvents.of(
                given.pop("lineage_url", None),
                given.pop("lineage_namespace", "lume"),
                given.pop("lineage_key", None),
            ),
            keys=keys,
            **given,
        )
