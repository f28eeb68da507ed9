"""Checks the headers of a user, and the URLs of the service and a proxy; finds the secrets among them. Pure."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from yarl import URL

from lume_async._base.secret import Secret
from lume_async.errors import ConfigurationError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_LONGEST = 8192
_OF_THE_CONNECTION = {
    *("accept-encoding", "connection", "content-encoding", "content-length", "expect", "host"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}
_OURS = {
    *_OF_THE_CONNECTION,
    *("accept", "content-type", "idempotency-key", "if-match", "if-none-match", "if-range"),
    *("prefer", "range"),
}
"""Headers that the client's requests or the connection already use."""
_INSTEAD = {"lume-api-key": "api_key", "user-agent": "user_agent"}
_SECRET = re.compile(r"auth|cookie|key|password|secret|token", re.IGNORECASE)
"""Matches names of headers whose values errors must not repeat."""

Headers = Mapping[str, Secret]


def checked_headers(
    headers: Mapping[str, str] | None, *, has_token: bool, of_one: bool = False
) -> dict[str, Secret]:
    """Return the headers, with redacted reprs. Raises `ConfigurationError`, which does not repeat the value.

    `has_token`: the client sends a token in `Authorization`; `of_one`: they are for one request of the user's.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers must be a dict of strings, not {type(headers).__name__}")
    found: dict[str, Secret] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(f"headers: {name!r:.60} is not a valid header name")
        if (instead := _INSTEAD.get(name.lower())) is not None:
            raise ConfigurationError(f"headers: pass {name} as {instead}=...")
        if has_token and name.lower() == "authorization":
            raise ConfigurationError("headers: the client has a token=..., which is sent as Authorization")
        if name.lower() in (_OF_THE_CONNECTION if of_one else _OURS):
            raise ConfigurationError(f"headers: {name} is set by the client itself")
        fits = isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip()
        if not fits or len(value) > _LONGEST:
            raise ConfigurationError(
                f"headers: the value of {name} must be printable ASCII without blanks around it, at most "
                f"{_LONGEST:,} characters"
            )
        found[name] = Secret(value)
    if len({name.lower() for name in found}) < len(found):
        raise ConfigurationError("headers: a name occurs twice, in upper and lower case")
    return found


def merged_headers(headers: Headers, more: Headers) -> dict[str, Secret]:
    """Return both; a header of `more` replaces one of the same name in any case."""
    names = {name.lower() for name in more}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(more)


def secrets_in(headers: Headers) -> tuple[Secret, ...]:
    """Return the values that errors must not repeat, chosen by the names of the headers; of `Bearer x` also x."""
    values = [value for name, value in headers.items() if _SECRET.search(name)]
    return tuple(Secret(part) for value in values for part in {value, *value.split()[1:]})


def flaw_of(text: str) -> str | None:
    """Return the fault of a base URL, as a phrase that follows its name; None if it is valid.

    The URL may contain a password, so it is not in the phrase, nor in a frame that raises.
    """
    # Sent unchanged, so it must be printable ASCII without spaces.
    if not (text.isascii() and text.isprintable()) or " " in text or not is_http(text):
        return "must look like https://host[:port][/path]"
    if any(mark in text for mark in "@?#"):
        return "must not contain a user name, password, query or fragment"
    return None


def is_http(text: str) -> bool:
    """Return whether it is an HTTP URL with a valid host and port."""
    return _is_url(text, ("http", "https"))


def is_socks(text: str) -> bool:
    """Return whether it is the URL of a SOCKS proxy with a valid host and port."""
    return _is_url(text, ("socks4", "socks5", "socks5h"))


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
        if parts.scheme not in schemes or not host:
            return False
        if "\\" in host:  # some parsers read it as a slash
            return False
        URL(text).human_repr()
        host.encode("idna")
        if host.replace(".", "").isdigit():
            IPv4Address(host)  # raises for numbers that are not an address, such as 1.2.3
    except ValueError:  # includes UnicodeError
        return False
    return True


def passwords_in(url: str | None) -> tuple[Secret, ...]:
    """Return the password, and the credentials that are sent in a header."""
    if url is None or not (password := URL(url).password):
        return ()
    return Secret(password), Secret(f"{URL(url).user or ''}:{password}")
