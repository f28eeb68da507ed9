"""Turns an Airflow connection of type `lume` into the arguments of a client. Pure."""

import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from lume_async import ConfigurationError


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _address(value: object) -> str | None:
    return value if isinstance(value, str) and value.startswith(("http://", "https://")) else None


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


_EXTRAS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "console_url": ("an address that begins with https:// or http://", _address),
    "request_timeout": ("a number of seconds above 0", _number),
    "max_connections": ("a whole number of at least 1", _whole),
    "ca_file": ("the name of a file", _text),
    "proxy": ("a string", _text),
}
"""The kind of each extra field, and its parser, which returns None for an invalid value. A URI has only strings."""


@frozen
class _Given:
    """The fields of an Airflow connection. Airflow's own object shows its password in tracebacks with locals."""

    conn_id: str
    host: str = field(repr=False)
    schema: str = field(repr=False)
    port: int | None = field(repr=False)
    api_key: str = field(repr=False)
    extra: dict[str, Any] | None = field(repr=False)

    @classmethod
    def of(cls, connection: Any) -> "_Given":
        return cls(
            connection.conn_id,
            (connection.host or "").strip(),
            connection.schema or "https",
            connection.port,
            connection.password or "",
            _json_object(connection),
        )


def _json_object(connection: Any) -> dict[str, Any] | None:
    """Return the extra fields; None if they are not a JSON object."""
    try:
        if not isinstance(json.loads(connection.extra or "{}") or {}, dict):
            return None
    except ValueError:
        return None
    return connection.extra_dejson or {}  # the same object, which Airflow masks in its logs


@frozen
class ConnectionSettings:
    """The settings of a client; equal settings can share a client."""

    conn_id: str
    base_url: str
    api_key: str = field(repr=False)
    console_url: str | None = None
    request_timeout: float | None = None
    max_connections: int | None = None
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)  # may hold a password

    @classmethod
    def of(cls, connection: Any) -> "ConnectionSettings":
        """Return the settings of an Airflow connection. Raises `ConfigurationError`, which names the wrong field."""
        given = _Given.of(connection)
        del connection
        if not given.api_key:
            raise ConfigurationError(f"the connection {given.conn_id!r} has no password: it is the API key")
        return cls(given.conn_id, _base_url(given), given.api_key, **_extras(given))

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of `lume_async.Client` and `lume_sync.Client`."""
        given = {
            "request_timeout": self.request_timeout,
            "max_connections": self.max_connections,
            "ssl": self.ca_file,
            "proxy": self.proxy,
        }
        return {
            "api_key": self.api_key,
            "base_url": self.base_url,
            "user_agent": "lume-airflow",
            **{name: value for name, value in given.items() if value is not None},
        }

    def run_page(self, run_id: str) -> str:
        """Return the address of a run's page in the console."""
        return f"{(self.console_url or self.base_url).rstrip('/')}/#/runs/{run_id}"


def _base_url(given: _Given) -> str:
    """Return the base URL; the host may be a URL, as in the form, or a bare name, as in `lume://:key@host:8443`."""
    if not given.host:
        raise ConfigurationError(f"the connection {given.conn_id!r} has no host: it is the base URL")
    url = _url(given)
    if url is None:
        raise ConfigurationError(
            f"the connection {given.conn_id!r} has a host that is not a valid base URL: it must look like "
            "https://host[:port][/path], without a user name, a password, a query or a fragment"
        )
    return url


def _url(given: _Given) -> str | None:
    """Return the URL; None if it is not valid. No details, as it may contain a password."""
    url = given.host if "://" in given.host else f"{given.schema}://{given.host}"
    try:
        parts = urlsplit(url)
        if given.port and parts.port is None:
            parts = parts._replace(netloc=f"{parts.netloc}:{given.port}")
        valid = (
            parts.scheme in ("http", "https") and parts.hostname and not any(mark in url for mark in "@?#")
        )
    except ValueError:
        return None
    return parts.geturl() if valid else None


def _extras(given: _Given) -> dict[str, Any]:
    """Return the extra fields, checked. Errors repeat no value, as it may contain the password of a proxy."""
    if given.extra is None:
        raise ConfigurationError(f"the connection {given.conn_id!r} has extras that are not a JSON object")
    if unknown := sorted(given.extra.keys() - _EXTRAS):
        raise ConfigurationError(
            f"the connection {given.conn_id!r} has an extra field {unknown[0]!r}; known are {', '.join(_EXTRAS)}"
        )
    filled = [name for name, value in given.extra.items() if value not in (None, "")]
    for name in filled:
        kind, read = _EXTRAS[name]
        if read(given.extra[name]) is None:
            raise ConfigurationError(
                f"the connection {given.conn_id!r} has an extra field {name!r} that is not {kind}"
            )
    return {name: _EXTRAS[name][1](given.extra[name]) for name in filled}
