"""Compares the schema of a state with its form: two builds once gave the same number to different schemas."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from lume_async._base.words import listed
from lume_local._runs.sql.tables import VERSION

Parts = Mapping[str, str]
"""A schema: tables, indexes, triggers and functions by name, each as a digest of its definition."""

FINGERPRINTS = {
    ("sqlite", 3): "88aeef63f604d026",
    ("sqlite", 4): "fc883c12e7d81f8d",
    ("postgresql", 3): "bbeaf4f674f7bb10",
    ("postgresql", 4): "a7d5bebbf27108a4",
}
"""By database and form. An entry never changes: a different schema is a new form, reached by a migration step."""
FACT = "schema"
"""The name of the fact with a state's parts after its last migration."""
_MOST_NAMED = 3


@lru_cache(1024)  # more than a schema has: a new state is compared with the definitions just written
def part(definition: str) -> str:
    """Return the digest of a definition, ignoring its layout and comments."""
    words = " ".join(re.sub(r"--[^\n]*", " ", definition).split())
    return sha256(re.sub(r" ?([(),;=<>|]) ?", r"\1", words).encode()).hexdigest()[:10]


def written(parts: Parts) -> str:
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def fingerprint(parts: Parts) -> str:
    return sha256(written(parts).encode()).hexdigest()[:16]


def unknown(form: int, by: str) -> str:
    """Return why a state with a known form but this schema is refused, and what to do."""
    return (
        f"is in form {form} of the state, with other tables than the releases of lume-client have in it: a build "
        f"from between two releases has written it (lume-client {by[:40] or 'of unknown version'}). Start that "
        "build, or restore a backup of a release"
    )


def mismatch(kind: str, found: Parts, noted: str, by: str) -> str:
    """Return why a state in the current form is refused, and what to do; empty if its schema is right.

    Args:
        noted: the parts recorded by its last migration; empty if there is no record.
        by: the release that used it last.
    """
    if is_current(kind, found):
        return ""
    if noted in ("", written(found)):
        return unknown(VERSION, by)
    before: Parts = json.loads(noted)
    names = sorted(name for name in before.keys() | found.keys() if before.get(name) != found.get(name))
    changes = [
        f"{name[:80]} was {'added' if name not in before else 'changed' if name in found else 'removed'}"
        for name in names
    ]
    return (
        f"has another schema than lume-client has given it: {listed(changes, _MOST_NAMED, str)}. Undo that, or "
        "restore a backup"
    )


def is_current(kind: str, found: Parts) -> bool:
    return fingerprint(found) == FINGERPRINTS[kind, VERSION]
