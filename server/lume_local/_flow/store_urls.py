"""URLs of object stores: `s3://bucket/key`, `gs://…`, `az://container/key`. Pure."""

import re

from lume_async._base.controls import control_in

_URL = re.compile(r"(s3|gs|az)://([a-z0-9][a-z0-9._-]{1,62})(?:/(.*))?", re.DOTALL)


class NotAStoreUrl(ValueError):
    """The URL is not valid; the message says why."""


def is_store_url(text: str) -> bool:
    """Return whether this is meant as the URL of an object store, valid or not."""
    return text.startswith(("s3://", "gs://", "az://"))


def split_store_url(url: str) -> tuple[str, str, str]:
    """Return scheme, bucket and key (empty for a bucket as a whole). Raises `NotAStoreUrl`.

    A key is taken literally: nothing in it is decoded, and no two spellings mean the same object.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise NotAStoreUrl(f"{url!r} is not the URL of an object: write scheme://bucket/key")
    scheme, bucket, key = match[1], match[2], match[3] or ""
    if any(part in (".", "..") for part in key.split("/")) or "//" in f"/{key}":
        raise NotAStoreUrl(f"{url!r} has a part that is empty, '.' or '..': remove it")
    if control_in(key):
        raise NotAStoreUrl(f"{url!r} contains a control character")
    return scheme, bucket, key
