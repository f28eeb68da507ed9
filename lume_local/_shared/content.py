"""Identify the content of a source in a few bytes, and detect a change. Pure."""

import hashlib
import json
from collections.abc import Iterable

from attrs import frozen


@frozen
class SourceContent:
    """The content of a source.

    Attributes:
        bytes: how many there are, in all files.
        seen: a hash of cheap metadata: names and sizes, with times of files or tags of objects.
        digest: a hash of the content itself, the same wherever and whenever it was written; None if it would have
            cost too much.
    """

    bytes: int
    seen: str
    digest: str | None = None


def is_other(before: SourceContent, now: SourceContent) -> bool:
    """Whether a source has other content now. A file that was written again without a digest counts as changed."""
    return before.digest != now.digest if is_open(before, now) else before.seen != now.seen


def is_open(before: SourceContent, now: SourceContent) -> bool:
    """Whether only a digest of the present content decides."""
    return before.seen != now.seen and before.bytes == now.bytes and before.digest is not None


def hash_of(items: Iterable[object]) -> str:
    """A hash of JSON values in their order."""
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()
