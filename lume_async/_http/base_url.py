"""The address of the service, or of a proxy, as it is given: read by what will read it when it is used. Pure."""

from ipaddress import IPv4Address
from urllib.parse import urlsplit

from yarl import URL

from lume_async._base.secret import Secret


def flaw_of(text: str) -> str | None:
    """What is wrong with a base URL, in words that follow its name; None where nothing is.

    The words don't repeat it, and it is in no frame that raises: it may hold a password.
    """
    # It is sent as it is: printable ASCII without spaces.
    if not (text.isascii() and text.isprintable()) or " " in text or not is_http(text):
        return "must look like https://host[:port][/path]"
    if any(mark in text for mark in "@?#"):
        return "must not contain a user name, password, query or fragment"
    return None


def is_http(text: str) -> bool:
    """Whether it is an HTTP URL with a host that can be one and a port that can be one."""
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host:
            return False
        URL(text).human_repr()
        host.encode("idna")
        if host.replace(".", "").isdigit():
            IPv4Address(host)
    except ValueError:  # a UnicodeError, too
        return False
    return True


def passwords_in(url: str | None) -> tuple[Secret, ...]:
    """The password, and what is sent in a header for it."""
    if url is None or not (password := URL(url).password):
        return ()
    return Secret(password), Secret(f"{URL(url).user or ''}:{password}")
