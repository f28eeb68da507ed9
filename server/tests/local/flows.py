"""Flow versions that the tests use."""

from pathlib import Path
from typing import Any

PEOPLE = """
flow = "people"
version = "v1"
[columns.id]
type = "integer"
required = true
unique = true
[columns.email]
sql = 'lower(trim("Email"))'
format = "email"
required = true
[columns.age]
sql = '"Age"'
type = "integer"
minimum = 0
maximum = 150
"""

PEOPLE_CSV = "id,Email,Age\n1,Ann@Example.org ,31\n2,bob@example.org,\n3,cy@example.org,47\n"

NOTES = """
flow = "notes"
version = "v1"
[source]
format = "ndjson"
[target]
mapped = "{data}/notes/{run_id}.ndjson"
rejects = "{data}/notes/{run_id}.rejects.ndjson"
[columns.text]
required = true
minLength = 2
[columns.stars]
type = "integer"
"""

SLOW = """
flow = "slow"
version = "v1"
[columns.id]
type = "integer"
[columns.burnt]
sql = "levenshtein(repeat('ab', 550), repeat(lpad(id, 5, '0'), 550))"
type = "integer"
"""
"""Real work of about a hundredth of a second per row: a run that can be caught while it is active."""


def people(**changes: Any) -> dict[str, Any]:
    """The JSON form of a small flow, with some top-level keys changed."""
    definition: dict[str, Any] = {
        "flow": "people",
        "version": "v1",
        "columns": {"id": {"type": "integer", "required": True}},
    }
    return {**definition, **changes}


def slow_rows(count: int = 20_000) -> str:
    """A source that keeps the flow `slow` busy for much longer than a test lasts."""
    return "id\n" + "".join(f"{n}\n" for n in range(count))


def write_flows(folder: Path) -> Path:
    """The folder with all of them."""
    folder.mkdir(exist_ok=True)
    for name, text in (("people", PEOPLE), ("notes", NOTES), ("slow", SLOW)):
        (folder / f"{name}.v1.toml").write_text(text)
    return folder
