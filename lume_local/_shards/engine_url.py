"""The URL of an engine: what may be shown of it, and which ones mean a cluster. Pure."""

from urllib.parse import urlsplit


def shown(url: str) -> str:
    """For messages: a token, a user or a password in it is left out."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{urlsplit('//' + rest).netloc.rpartition('@')[2]}" if rest else scheme


def is_cluster(url: str) -> bool:
    """Whether one connection of the server leads there, instead of processes of each run."""
    return url.partition("://")[0] not in ("pool", "broker")
