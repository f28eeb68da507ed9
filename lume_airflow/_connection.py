"""An Airflow connection of type `lume`, read into the arguments of a client. Pure."""

from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from lume_async import ConfigurationError

_KINDS: dict[str, type | tuple[type, ...]] = {
    "console_url": str,
    "request_timeout": (int, float),
    "max_connections": int,
    "ca_file": str,
    "proxy": str,
}


@frozen
class ConnectionSettings:
    """Where the service is and how to reach it; equal where a client can be shared."""

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
        """Those of an Airflow connection.

        Raises:
            ConfigurationError: something is missing or not valid; the message names the field.
        """
        conn_id = connection.conn_id
        if not connection.password:
            raise ConfigurationError(f"the connection {conn_id!r} has no password: it is the API key")
        extra = connection.extra_dejson
        return cls(conn_id, _base_url(connection), connection.password, **_extras(conn_id, extra))

    def client_options(self) -> dict[str, Any]:
        """The arguments of `lume_async.Client` and `lume_sync.Client`."""
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
        """The address of a run's page in the console."""
        return f"{(self.console_url or self.base_url).rstrip('/')}/#/runs/{run_id}"


def _base_url(connection: Any) -> str:
    """The host may be a whole URL, as the form asks for, or a bare name as in `lume://:key@host:8443`."""
    host: str = connection.host or ""
    if not host:
        raise ConfigurationError(f"the connection {connection.conn_id!r} has no host: it is the base URL")
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    if connection.port and urlsplit(host).port is None:
        parts = urlsplit(host)
        host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return host


def _extras(conn_id: str, extra: dict[str, Any]) -> dict[str, Any]:
    known = {name: extra[name] for name in _KINDS if extra.get(name) not in (None, "")}
    for name, value in known.items():
        if not isinstance(value, _KINDS[name]) or isinstance(value, bool):
            raise ConfigurationError(f"the connection {conn_id!r} has {name}={value!r} in its extra fields")
    return known
