"""Checks the URL of the service or of a proxy with the parsers that will use it. Pure."""

from ipaddress import IPv4Address
from urllib.parse import urlsplit

from yarl import URL

from lume_async._base.secret import Secret


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
            IPv4Address(host)
    except ValueError:  # includes UnicodeError
        return False
    return True


def passwords_in(url: str | None) -> tuple[Secret, ...]:
    """Return the password, and the credentials that are sent in a header."""
    if url is None or not (password := URL(url).password):
        return ()
    return Secret(password), Secret(f"{URL(url).user or ''}:{password}")
