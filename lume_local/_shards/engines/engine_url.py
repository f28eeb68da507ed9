"""The URL of an engine: what may be shown of it, and which ones mean a cluster. Pure."""

import re

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<place>[^/?#;]*)(?P<more>.*)", re.DOTALL)


def shown(url: str) -> str:
    """For messages: a token, a user or a password in it is left out, however badly it is written."""
    match = _URL.fullmatch(url)
    assert match is not None, "it takes any text"
    # An @ further on may come after a password with a slash in it, or be part of a token.
    place = "…" if "@" in match["more"] else match["place"].rpartition("@")[2]
    return (match["scheme"] or "") + place


def is_cluster(url: str) -> bool:
    """Whether one connection of the server leads there, instead of processes of each run."""
    return url.partition("://")[0] not in ("pool", "broker")
