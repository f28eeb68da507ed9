"""Which objects the server may use: those below the URLs of object stores among its roots. Pure."""

from lume_local._flow.store_urls import NotAStoreUrl, split_store_url
from lume_local._runs.sources.paths import PathRefused, Roots


def stored(roots: Roots, url: str, kind: str) -> str:
    """The URL of an object, if the server may use it. Raises `PathRefused`; `kind` is `source` or `target`."""
    return _allowed(roots, url, url, kind)


def stored_below(roots: Roots, pattern: str, folder: str) -> str:
    """The URL of the folder that a pattern of a source begins with, if the server may search all of it.

    Raises `PathRefused`.
    """
    _allowed(roots, pattern, f"{folder}/", "source")
    return folder


def _allowed(roots: Roots, url: str, place: str, kind: str) -> str:
    try:
        _, _, key = split_store_url(url)
    except NotAStoreUrl as error:
        raise PathRefused(f"the {kind} {error}") from None
    if not key or key.endswith("/"):
        raise PathRefused(f"the {kind} {url!r} names no object: write its whole key")
    if root_of(roots, place) is None:
        listed = ", ".join(roots.stores) or "none; start it with, say, s3://bucket/folder among its roots"
        raise PathRefused(
            f"the {kind} {url!r} lies outside of the buckets that this server may use: {listed}"
        )
    return url


def below_root(roots: Roots, url: str) -> str:
    """The part of a URL after its root: `{source_path}` in a target."""
    return url.removeprefix(root_of(roots, url) or "").lstrip("/")


def root_of(roots: Roots, url: str) -> str | None:
    """The root that the URL lies in."""
    found = [root for root in roots.stores if url.startswith(f"{root}/")]
    return max(found, key=len, default=None)
