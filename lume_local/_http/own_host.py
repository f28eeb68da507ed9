"""Whether a host name can only be this server's. Pure.

A name of another site that leads to this machine (DNS rebinding) would have the console's page under that site's
origin.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


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
