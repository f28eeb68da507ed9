"""What `serve` was asked for, checked before anything is started."""

import math
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any

from attrs import field, frozen

from lume_async.errors import ConfigurationError
from lume_local._flow.engine import LEAST_SHARD
from lume_local._flow.stores import NotAStoreUrl, is_store_url, split_store_url
from lume_local._runs.lineage import Lineage
from lume_local._runs.paths import Roots
from lume_local._runs.webhook_rules import WebhookRules
from lume_local._shards.executors import UnknownEngine, check_engine

AnyPath = str | PathLike[str]
MOST_UPLOADED = 10 * 1024**3
WEBHOOK_HOSTS: tuple[str, ...] = ()
CONSOLE_HOSTS: tuple[str, ...] = ()
KEEP = timedelta(days=30)
RUN_TIMEOUT = timedelta(days=1)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")
_LONGEST = 1e10
"""Seconds: three hundred years, so that no date before the year 1 comes out."""


@frozen
class Settings:
    """The settings of one server. Build them with `of`."""

    flows: Path | None
    places: Roots
    host: str
    port: int
    api_key: str = field(repr=False)
    max_active: int | None
    max_upload_bytes: int
    webhooks: WebhookRules
    keep: float | None
    """Seconds; None for ever."""
    run_timeout: float | None
    """Seconds; None for any time."""
    dev: bool
    keys: Path | None
    uploads_quota: int | None
    keep_uploads: float | None
    keep_output: float | None
    """Seconds; None for ever."""
    console_hosts: tuple[str, ...]
    lineage: Lineage | None
    engine: str | None = field(repr=False)  # a token may be in it
    shard_bytes: int

    @property
    def shards(self) -> dict[str, Any] | None:
        """What runs are told of the engine."""
        return None if self.engine is None else {"url": self.engine, "shard_bytes": self.shard_bytes}

    @classmethod
    def of(
        cls,
        flows: AnyPath | None,
        data: AnyPath,
        roots: Sequence[AnyPath] | None,
        host: str,
        port: int,
        api_key: str | None,
        max_active: int | None,
        max_upload_bytes: int,
        webhook_secret: str | bytes | Iterable[str | bytes] | None,
        webhook_hosts: Iterable[str],
        keep: float | timedelta | None,
        run_timeout: float | timedelta | None,
        dev: bool,
        keys: AnyPath | None,
        uploads_quota: int | None,
        keep_uploads: float | timedelta | None,
        keep_output: float | timedelta | None,
        console_hosts: Iterable[str],
        lineage_url: str | None,
        lineage_key: str | None,
        lineage_namespace: str,
        engine: str | None,
        shard_bytes: int,
    ) -> "Settings":
        """The settings, as `serve` describes them. Raises `ConfigurationError`."""
        if max_active is not None and max_active < 1:
            raise ConfigurationError(f"max_active must be at least 1, not {max_active}")
        if max_upload_bytes < 0:
            raise ConfigurationError(f"max_upload_bytes must be at least 0, not {max_upload_bytes}")
        if uploads_quota is not None and uploads_quota < 0:
            raise ConfigurationError(f"uploads_quota must be at least 0, not {uploads_quota}")
        if shard_bytes < LEAST_SHARD:
            raise ConfigurationError(f"shard_bytes must be at least {LEAST_SHARD}, not {shard_bytes}")
        return cls(
            flows=None if flows is None else Path(flows),
            places=_places(roots, data, () if keys is None else (Path(keys),), flows),
            host=host,
            port=port,
            api_key=_checked_key(api_key),
            max_active=max_active,
            max_upload_bytes=max_upload_bytes,
            webhooks=WebhookRules.of(webhook_secret, webhook_hosts),
            keep=_seconds("keep", keep),
            run_timeout=_seconds("run_timeout", run_timeout),
            dev=dev,
            keys=None if keys is None else Path(keys),
            uploads_quota=uploads_quota,
            keep_uploads=_seconds("keep_uploads", keep_uploads),
            keep_output=_seconds("keep_output", keep_output),
            console_hosts=_names(console_hosts),
            lineage=Lineage.of(lineage_url, lineage_namespace, lineage_key),
            engine=_checked_engine(engine),
            shard_bytes=shard_bytes,
        )


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
    urls = [str(root) for root in given if is_store_url(str(root))]
    folders = tuple(Path(root) for root in given if not is_store_url(str(root)))
    return Roots.of(
        folders or (home,),
        home,
        tuple(_checked_store(url) for url in urls),
        private,
        None if flows is None else Path(flows),
    )


def _checked_store(url: str) -> str:
    url = url.rstrip("/")
    try:
        split_store_url(url)
    except NotAStoreUrl as error:
        raise ConfigurationError(f"roots: {error}") from None
    return url


def _checked_key(api_key: str | None) -> str:
    if api_key is None:
        return secrets.token_urlsafe(24)
    if not api_key or not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip():
        raise ConfigurationError("api_key must be visible ASCII characters, at least one")
    return api_key


def _seconds(name: str, given: float | timedelta | None) -> float | None:
    if given is None:
        return None
    seconds = given.total_seconds() if isinstance(given, timedelta) else float(given)
    if math.isnan(seconds) or not 0 < seconds <= _LONGEST:
        raise ConfigurationError(f"{name} must be above 0 seconds, or None for ever, not {given!r}")
    return seconds
