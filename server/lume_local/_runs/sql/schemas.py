"""Compares the schema of a state with its form: two builds have once given one number to different schemas."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256

from lume_async._base.words import listed
from lume_local._runs.sql.tables import VERSION

Parts = Mapping[str, str]
"""A schema: tables, indexes, triggers and functions by their names, each as a digest of its definition."""

FINGERPRINTS = {
    ("sqlite", 3): "88aeef63f604d026",
    ("postgresql", 3): "bbeaf4f674f7bb10",
}
"""By database and form. An entry never changes: another schema is another form, with a step from this one."""
FACT = "schema"
"""The name of the fact that has the parts of a state, as its last migration left them."""
_MOST_NAMED = 3


def part(definition: str) -> str:
    """The digest of a definition, whatever its layout and comments are."""
    words = " ".join(re.sub(r"--[^\n]*", " ", definition).split())
    return sha256(re.sub(r" ?([(),;=<>|]) ?", r"\1", words).encode()).hexdigest()[:10]


def written(parts: Parts) -> str:
    """The parts as a text."""
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def fingerprint(parts: Parts) -> str:
    return sha256(written(parts).encode()).hexdigest()[:16]


def unknown(form: int, by: str) -> str:
    """Why a state with this schema is refused, though its form is known, and what to do."""
    return (
        f"is in form {form} of the state, with other tables than the releases of lume-client have in it: a build "
        f"from between two releases has written it (lume-client {by[:40] or 'of unknown version'}). Start that "
        "build, or restore a backup of a release"
    )


def mismatch(kind: str, found: Parts, noted: str, by: str) -> str:
    """Why a state is refused that says that it is in this form, and what to do; empty if it is in it.

    Args:
        kind: its database.
        found: its schema.
        noted: the parts as its last migration has noted them, empty if it has not.
        by: the release that has used it last.
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
    """Whether a schema is that of the present form."""
    return fingerprint(found) == FINGERPRINTS[kind, VERSION]
