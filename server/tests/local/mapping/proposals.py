"""Proposals made in the process of the test."""

from pathlib import Path
from typing import Any

from lume_local._flow.definition import read_definition
from lume_local._mapping.target import MappingTarget, of_schema
from lume_local._shared.protocol import Propose, Proposed
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.samples.proposing import make_proposal

Json = dict[str, Any]


def proposed(target: MappingTarget, *samples: Path, source: Json | None = None, **more: Any) -> Json:
    """The proposal as JSON; at its top also the columns, and what is to decide, of its first layout."""
    given = [{"path": str(path), "shown": path.name, "source": source} for path in samples]
    answer = make_proposal(Propose(target.to_json(), given, **more))
    assert isinstance(answer, Proposed), answer
    with connect() as connection:
        compile_flow(connection, read_definition(answer.proposal["definition"]))
    first = answer.proposal["layouts"][0]
    flat = {key: first[key] for key in ("columns", "unmapped", "unused")}
    return answer.proposal | flat | {"doubts": [*answer.proposal["doubts"], *first["doubts"]]}


def for_columns(folder: Path, text: str, *, required: list[str] = [], **properties: Any) -> Json:  # noqa: B006
    """The proposal for a schema with these properties, from a CSV file with this text."""
    path = folder / "sample.csv"
    path.write_text(text)
    schema = {"title": "customers", "properties": properties, "required": required}
    return proposed(of_schema(schema, "customers", "v1", "the schema"), path)


def chosen(proposal: Json) -> Json:
    """How each mapped column is filled."""
    return {one["name"]: one["chosen"] for one in proposal["columns"] if one["chosen"] is not None}


def sources(proposal: Json) -> dict[str, list[str]]:
    return {name: one["sources"] for name, one in chosen(proposal).items()}
