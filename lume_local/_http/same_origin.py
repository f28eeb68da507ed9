"""Whether a browser's request comes from the console's own page. Pure.

Two dangers: a page of another site, or of another port of this machine, that sends requests with the session's
cookie; and a name of another site that leads to this machine (DNS rebinding), which makes its pages ours.
"""

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_SAFE = {"GET", "HEAD"}


def is_own_host(header: str, names: Collection[str]) -> bool:
    """Whether a `Host` header is an address, `localhost`, or one of the names: those can't be rebound."""
    try:
        parts = urlsplit(f"//{header}")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if host == "localhost" or host in names:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_same_origin(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request was made by a page of the host that it goes to.

    What changes something must say so; what reads must not say otherwise: a browser says nothing of an address that
    was typed in, and nothing at all over plain HTTP to another machine.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("Host", ""):
        return False
    if method in _SAFE:
        return site in (None, "same-origin", "none")
    return site in (None, "same-origin") and (site is not None or origin is not None)
