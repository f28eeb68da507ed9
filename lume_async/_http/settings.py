"""A client's settings, from arguments and the environment, checked before use."""

import os
import ssl as ssl_module
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from attrs import field, frozen

from lume_async._base import arguments
from lume_async._base.duration import Duration, seconds
from lume_async._base.extras import install_command
from lume_async._base.secret import Secret, Veiled, veiled
from lume_async._base.version import __version__
from lume_async._http.checks import Headers, checked_headers, flaw_of, is_http, is_socks
from lume_async.errors import ConfigurationError

ApiKey: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A key or token, or a function that returns one: a key before each request, a token anew once it is refused."""

Proxy: TypeAlias = str | Literal[False] | None
"""The URL of a proxy; None: the one of the environment (`HTTPS_PROXY`, `NO_PROXY` …); False: none."""

Ssl: TypeAlias = ssl_module.SSLContext | str | os.PathLike[str] | None
"""An `SSLContext`, the path of a CA file, or None: the default trust store (`SSL_CERT_FILE` is honoured)."""

MEBIBYTE = 1024 * 1024
DEFAULT_TIMEOUT = 60.0
LONGEST_KEY = 8192

_SERVED = Path(".lume") / "state" / "server.json"
"""The file in which `lume serve` keeps its URL and key, in the folder that it was started in."""


@frozen
class Settings:
    """The settings of a client, complete and valid."""

    base_url: str
    api_key: Secret | Callable[[], object] | None = field(repr=False)
    request_timeout: float = DEFAULT_TIMEOUT
    max_connections: int = 100
    max_response_bytes: int = 32 * MEBIBYTE
    proxy: str | None = field(default=None, repr=False)  # may contain a password
    ssl: Ssl = None
    user_agent: str = ""
    token: Secret | Callable[[], object] | None = field(default=None, repr=False)
    headers: Headers = field(factory=dict, repr=False)


def settings(
    api_key: ApiKey | None,
    *,
    base_url: str | None,
    request_timeout: Duration | None,
    max_connections: int,
    max_response_bytes: int,
    proxy: Proxy,
    ssl: Ssl,
    user_agent: str | None,
    token: ApiKey | None = None,
    headers: Mapping[str, str] | None = None,
) -> Settings:
    """Combine arguments, environment and defaults. Raises `ConfigurationError`, which names both sources."""
    url = _base_url(base_url)
    agent = f"lume-client/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
    if user_agent is not None:
        agent = f"{arguments.line(user_agent, 'user_agent', error=ConfigurationError)} {agent}"
    return Settings(
        base_url=url,
        api_key=_api_key(api_key, is_needed=token is None),
        request_timeout=checked_timeout(request_timeout),
        max_connections=arguments.whole(max_connections, "max_connections", error=ConfigurationError),
        max_response_bytes=arguments.whole(
            max_response_bytes, "max_response_bytes", error=ConfigurationError
        ),
        proxy=_proxy(proxy, url),
        ssl=_ssl(ssl),
        user_agent=agent,
        token=token if token is None or callable(token) else valid_key(token, "token"),
        headers=checked_headers(headers, has_token=token is not None),
    )


def valid_key(key: object, source: str) -> Secret:
    """Return the key, ready for a header. Raises `ConfigurationError`, without the key, if it is not valid."""
    if not isinstance(key, str):
        kind = key.kind if isinstance(key, Veiled) else type(key).__name__
        raise ConfigurationError(f"{source} must be a string, not {kind}")
    text = Secret(key.strip("\r\n"))  # a key read from a file often ends with a newline
    if not text.strip():
        hint = "" if "token" in source else ": pass api_key=... or set LUME_API_KEY"
        raise ConfigurationError(f"{source} is empty{hint}")
    if len(text) > LONGEST_KEY or not (text.isascii() and text.isprintable()):
        raise ConfigurationError(
            f"{source} is not a valid {'token' if 'token' in source else 'API key'}: expected printable ASCII, at "
            f"most {LONGEST_KEY:,} characters"
        )
    return text


def _api_key(key: ApiKey | None, *, is_needed: bool) -> Secret | Callable[[], object] | None:
    if callable(key):
        return key
    if key is not None:
        return valid_key(key, "api_key")
    found = veiled(os.getenv("LUME_API_KEY"))
    if found is None and not is_needed:
        return None
    if found is None:
        raise ConfigurationError("no API key: pass api_key=... or set LUME_API_KEY")
    return valid_key(found, "LUME_API_KEY")


def _base_url(argument: str | None) -> str:
    source = "LUME_BASE_URL" if argument is None else "base_url"
    text = veiled(os.getenv("LUME_BASE_URL") if argument is None else argument)
    if not text:
        raise ConfigurationError(
            "no base URL, and there is no default: pass base_url=... or set LUME_BASE_URL; " + _server_here()
        )
    text = veiled(text.strip() if isinstance(text, str) else "")
    if flaw := flaw_of(text):
        raise ConfigurationError(f"{source} {flaw}")
    return str(text).rstrip("/")


def _server_here() -> str:
    """Return a hint at how to get a server on this machine. Nothing reads the file of `lume serve` implicitly."""
    try:
        here = Path.cwd()
        folders = (here, *here.parents)
        file = next((file for folder in folders if (file := folder / _SERVED).is_file()), None)
    except OSError:  # the current folder is gone, or a parent may not be read
        file = None
    if file is None:
        return "`lume_local.serve()` starts a server on this machine"
    return (
        f"`lume serve` wrote base_url and api_key of its server to {file}: export them as LUME_BASE_URL and "
        f"LUME_API_KEY, or pass both:\n    served = json.loads(Path({str(file)!r}).read_text())\n"
        '    client = Client(served["api_key"], base_url=served["base_url"])'
    )


def checked_timeout(argument: Duration | None) -> float:
    """Return the seconds that an attempt may take. Raises `ConfigurationError`."""
    if argument is not None:
        source = "request_timeout"
        number = seconds(argument, source)  # raises TypeError or ValueError
    else:
        source = "LUME_REQUEST_TIMEOUT"
        if not (text := os.getenv(source)):
            return DEFAULT_TIMEOUT
        try:
            number = float(text)
        except ValueError:
            number = 0.0
    if not 0 < number < sys.maxsize:
        raise ConfigurationError(f"{source} must be a number of seconds above 0")
    return number


def _proxy(proxy: Proxy, base_url: str) -> str | None:
    """Read the environment here, since aiohttp's `trust_env` would also read ~/.netrc."""
    if proxy is False:
        return None
    if proxy is None and (proxy := proxy_of_environment(base_url)) is None:
        return None
    is_url = isinstance(proxy, str) and (is_http(proxy) or is_socks(proxy))
    if not is_url or urlsplit(proxy).port == 0:
        raise ConfigurationError(
            "proxy (or HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) must look like http://[user:password@]host:port or "
            "socks5://[user:password@]host:port; False uses none"
        )
    if is_socks(proxy) and find_spec("aiohttp_socks") is None:
        raise ConfigurationError(f"a SOCKS proxy needs aiohttp-socks: {install_command('socks')}")
    return proxy


def proxy_of_environment(base_url: str) -> str | None:
    """Return the URL of the proxy that the environment names for an address; None if there is none."""
    parts = urlsplit(base_url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    return veiled(proxy if "://" in proxy else f"http://{proxy}")  # like curl and requests


def _ssl(ssl: Ssl) -> Ssl:
    if ssl is None or isinstance(ssl, ssl_module.SSLContext):
        return ssl
    if isinstance(ssl, (str, os.PathLike)):
        if not os.path.isfile(ssl):
            raise ConfigurationError(f"ssl: no CA file at {os.fspath(ssl)!r}")
        return ssl
    raise ConfigurationError(f"ssl must be an SSLContext or the path of a CA file, not {type(ssl).__name__}")
