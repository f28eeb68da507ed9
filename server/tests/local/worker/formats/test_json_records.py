"""JSON and NDJSON: a path to the records, and nested fields."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from depth import seeds
from local.one_run import compiled, execute
from local.shards.twice import compared

from lume_local._flow.fields import FlowError
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats import json as json_format

COLUMNS: dict[str, Any] = {"v": {}}


def at(path: list[str], value: Any) -> Iterator[Any]:
    """The records at a path by Python's own parser; arrays on the way are for all that is in them."""
    if isinstance(value, list):
        for one in value:
            yield from at(path, one) if path else [one]
    elif not path:
        yield from [] if value is None else [value]
    elif isinstance(value, dict) and path[0] in value:
        yield from at(path[1:], value[path[0]])


def nested(rng: random.Random, path: list[str], counts: Iterator[int]) -> Any:
    if rng.random() < 0.3 and path:
        return [nested(rng, path, counts) for _ in range(rng.randrange(3))]
    if not path:
        records = [rng.choice(({"v": f"n{next(counts)}"}, {"v": None}, 7)) for _ in range(rng.randrange(5))]
        return rng.choice((records, records, {"v": "single"}, None))
    others = {"x": [{"v": 1}, [2]], "y": {"data": [{"v": "no"}]}, "z": "]}", "w": 1.5e3}
    members = [
        (path[0], nested(rng, path[1:], counts)),
        *rng.sample(sorted(others.items()), rng.randrange(4)),
    ]
    rng.shuffle(members)
    return dict(members)


@seeds(30)
def test_records_are_those_at_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(json_format, "BLOCK", rng.choice((3, 50, 4096)))
    path = [["data"], ["data", "items"], ["a.b", "ü", "data"]][seed % 3]
    values = [nested(rng, path, iter(range(1000))) for _ in range(rng.randrange(1, 3))] + [{}]
    values.insert(rng.randrange(len(values)), nested(random.Random(1), path, iter([])))
    values.append({path[0]: {path[1]: {path[2]: [{"v": "z"}]}} if len(path) == 3 else [{"v": "z"}]})
    if len(path) == 2:
        values[-1] = {"data": {"items": [{"v": "z"}]}}
    content = "\n".join(json.dumps(one, indent=rng.choice((None, 1)), ensure_ascii=False) for one in values)
    records = [one for value in values for one in at(path, value)]
    given = rng.choice((path, ".".join(path))) if "a.b" not in path else path
    source = {"format": "json", "json": {"records": given}}
    result = execute(tmp_path, content, columns=COLUMNS, source=source, rejects_suffix=".ndjson")
    assert result.mapped == [(one["v"],) for one in records if isinstance(one, dict)]
    rejected = [json.loads(line)["_lume_line"] for line in result.rejects_file.splitlines()]
    assert rejected == [n for n, one in enumerate(records, 1) if not isinstance(one, dict)]
    assert result.metrics["source"]["records"] == len(records)


SOURCE = {"format": "json", "json": {"records": "data.items"}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"data": {"rows": []}, "n": 1}', r"no 'data\.items'.*on the way: 'rows', 'n'\. Fix json\.records"),
        ("[]", "on the way: no object"),
        ("7", "on the way: no object"),
        ('{"data": {"items": [{"v": 1}], "items": []}}', "the member 'items' appears twice"),
        ('{"data": {"items": [{"v": 1}, ]}}', "a comma before the end of the array"),
        ('{"data": {"items": [{"v": 1}] "n": 1}}', "a comma or the end of the object is missing"),
        ('{"data": {"items": [{"v": 1}]}', "line 1: a comma or the end of the object"),
        ('{"data":\n{"items" 7}}', "line 2: a colon is missing"),
        ('{"data":\n{items: 7}}', "line 2: the name of a member is missing"),
        ('{"a": ' * 3000, "not JSON|too deeply"),
        (f'{{"data": {"[" * 100_000}', "not JSON|too deeply"),
        ("{" * 50_000, "not JSON"),
    ],
)
def test_what_is_no_source(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        execute(tmp_path, content, columns=COLUMNS, source=SOURCE)


def test_rejects_have_no_path(tmp_path: Path) -> None:
    columns = {"id": {"type": "integer"}, "city": {"from": ["address.city"]}}
    items = [{"id": 1, "address": {"city": "Bonn"}}, {"id": "x", "address": {"city": "Ulm"}}]
    flow = {"columns": columns, "source": SOURCE}
    for n, suffix in enumerate((".ndjson", ".csv")):
        first = execute(
            tmp_path / f"a{n}", json.dumps({"data": {"items": items}}), rejects_suffix=suffix, **flow
        )
        assert first.mapped == [(1, "Bonn")]
        if suffix == ".ndjson":
            mended = first.rejects_file.replace(b'"x"', b"2").replace(b'{"_lume', b'{ "_lume')
        else:
            mended = first.rejects_file.replace(b",x,", b",2,")
        assert execute(tmp_path / f"b{n}", mended, **flow).mapped == [(2, "Ulm")]


OBJECTS: list[dict[str, Any]] = [
    {"address": {"city": "Bonn", "geo": {"lat": 7.5}}, "tags": ["a", {"n": 1}]},
    {"address": {"city": None}, "tags": []},
    {"address.city": "literal", "address": {"city": "Ulm"}},
    {"address": "Köln"},
    {"address": [{"city": "Kiel"}]},
    {"a/b": {"c~d": "odd"}},
]
FIELDS: dict[str, list[str | None]] = {
    "address.city": ["Bonn", None, "literal", None, None, None],
    "address.geo.lat": ["7.5", None, None, None, None, None],
    "address.geo": ['{"lat":7.5}', None, None, None, None, None],
    "tags.0": ["a", None, None, None, None, None],
    "tags.1.n": ["1", None, None, None, None, None],
    "address.0.city": [None, None, None, None, "Kiel", None],
    "a/b.c~d": [None, None, None, None, None, "odd"],
}


@pytest.mark.parametrize(("format", "by_alias"), [("ndjson", True), ("json", False)])
def test_nested_fields(tmp_path: Path, format: str, by_alias: bool) -> None:
    """By one worker and over shards."""
    columns = {
        f"c{n}": {"from": [name]} if by_alias else {"sql": f'"{name}"'} for n, name in enumerate(FIELDS)
    }
    lines = "".join(json.dumps(one) + "\n" for one in OBJECTS)
    flow = {"columns": columns, "source": {"format": format, "on_unknown_columns": "warn"}}
    result = execute(tmp_path / "one", lines, rejects_suffix=".ndjson", **flow)
    assert result.mapped == list(zip(*FIELDS.values(), strict=True))
    # Of an object that is read in part nothing is unknown; of what no object has there is a warning.
    assert result.metrics["warnings"] == {}
    engine = {"url": "here", "shard_bytes": 1, "shards": 3}
    compared(tmp_path / "two", [("a", lines.encode())], engine, rejects_as=".ndjson", **flow)


def test_a_nested_field_that_no_object_has(tmp_path: Path) -> None:
    columns = {"id": {}, "city": {"sql": '"address.city"'}}
    source = {"format": "ndjson"}
    found = execute(tmp_path / "a", '{"id": 1, "address": {"zip": 2}}\n', columns=columns, source=source)
    assert found.mapped == [("1", None)]
    assert found.metrics["warnings"] == {"no row has 'address.city'": 1}
    with pytest.raises(RunFailed, match=r"no object of the source has 'address\.city'.*Found: 'adress'"):
        execute(tmp_path / "b", '{"adress": {}}\n', columns={"city": columns["city"]}, source=source)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ({"format": "json", "json": {"records": 7}}, "source.json.records"),
        ({"format": "json", "json": {"records": "a..b"}}, "source.json.records"),
        ({"format": "json", "json": {"records": []}}, "source.json.records"),
        ({"format": "json", "json": {"records": ["a", 1]}}, "source.json.records"),
        ({"format": "json", "json": {"records": ".".join("a" * 21)}}, "source.json.records"),
        ({"format": "json", "json": {"record": "a"}}, "source.json.record"),
        ({"format": "ndjson", "json": {"records": "a"}}, "source.json"),
        ({"format": "xml"}, "source.xml.records"),
        ({"format": "xml", "xml": {"records": "a//b"}}, "source.xml.records"),
        ({"format": "xml", "xml": {"records": "a/b"}, "header": "find"}, "source.header"),
    ],
)
def test_mistakes(source: dict[str, Any], place: str) -> None:
    with pytest.raises(FlowError) as caught:
        compiled(source=source)
    assert caught.value.place == place
