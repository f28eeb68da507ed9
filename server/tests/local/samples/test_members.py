"""Members of records: each that has a value is read by a proposed column, or named as not read."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.mapping.proposals import proposed
from local.one_run import execute

from lume_async.errors import ConfigurationError
from lume_local import open_trial
from lume_local._flow.source_settings import pointer_of, pointers, why_unreadable
from lume_local._mapping.target import of_schema
from lume_local._worker.samples.proposing import _open_here
from lume_local._worker.samples.read import Sample, read_sample
from lume_local._worker.samples.sample import opened_trials

Json = dict[str, Any]
Steps = tuple[str, ...]
NAMES = [
    *("a", "b", "A", "a.b", "b.c", ".", "[0]", "0", "/", "~", "$", "*", "\\", 'q"', "'", "ä", "日本"),
    *("", "x y", "\t"),
]
SCALARS = st.one_of(
    st.none(),
    st.integers(-9, 9**12),
    st.booleans(),
    st.sampled_from(["", "x", " é", "null", '"']),
    st.just([1, "a"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=3), max_leaves=6
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=4), min_size=1, max_size=4
)


def sample_of(path: Path) -> Sample:
    """As `lume flow init` reads it."""
    with opened_trials() as trials:
        return read_sample(path, partial(_open_here, trials))


def leaves_of(value: Any, above: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Each member with a value; one in the fourth object is a whole."""
    for name, inner in value.items():
        if isinstance(inner, dict) and inner and len(above) < 3:
            yield from leaves_of(inner, (*above, name))
        elif inner is not None:
            yield (*above, name), inner


def same(read: str | None, value: Any) -> bool:
    return read is not None and (read == value if isinstance(value, str) else json.loads(read) == value)


def check_read_or_named(
    sample: Sample, rows: list[tuple[Any, ...]], leaves: list[list[tuple[Steps, Any]]]
) -> None:
    names = [column.source for column in sample.columns]
    said = "\n".join(sample.doubts)
    assert len(rows) == len(leaves)
    for row, members in zip(rows, leaves, strict=True):
        for steps, value in members:
            name = ".".join(steps)
            if name in names and same(row[names.index(name)], value):
                continue
            shown = f"the member {' in '.join(map(repr, reversed(steps)))} has a value in "
            is_twin = f"{name!r}" in said.partition("differs in case only: ")[2]
            assert shown in said or is_twin, (steps, value, row, said)
    for n, name in enumerate(names):
        has_value = any(".".join(steps) == name for members in leaves for steps, _ in members)
        assert not has_value or any(row[n] is not None for row in rows), f"{name!r} is NULL everywhere"


def read_by_a_run(folder: Path, content: bytes, sample: Sample) -> list[tuple[Any, ...]]:
    columns = {
        f"c{n}": {"sql": '"' + column.source.replace('"', '""') + '"', "type": "string"}
        for n, column in enumerate(sample.columns)
    }
    return execute(folder, content, source=sample.source, columns=columns, rules=[]).mapped


DOTTED = {"id": 1, "a": {"b.c": 7, "d": 2}, "x.y": 5, "x": {"y": 6}}
"""Of its members, `b.c` has a dot within an object, and `y` the path that is the name of another one."""
UNREAD = [
    "the member 'b.c' in 'a' has a value in 2 records and is not read: dots separate the names in a path, and a name "
    """has one. To read it, use json_extract_string("a", '/b.c')""",
    "the member 'y' in 'x' has a value in 2 records and is not read: 'x.y' reads the member with that very name. "
    """To read it, use json_extract_string("x", '/y')""",
]


def written(path: Path, *records: Json) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records))
    return path


@pytest.mark.parametrize("content", [[DOTTED, DOTTED], {"of": {"them": [DOTTED, DOTTED]}}])
def test_a_member_without_a_path_is_named(tmp_path: Path, content: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    sample = sample_of(tmp_path / "a.json")
    assert [column.source for column in sample.columns] == ["id", "a.d", "x.y"]
    assert [doubt for doubt in sample.doubts if "member" in doubt] == UNREAD


def test_an_expression_reads_it(tmp_path: Path) -> None:
    advice = {
        f"c{n}": {"sql": problem.partition("use ")[2], "type": "integer"} for n, problem in enumerate(UNREAD)
    }
    found = execute(tmp_path, json.dumps([DOTTED]), source={"format": "json"}, columns=advice, rules=[])
    assert found.mapped == [(7, 6)]


def test_members_without_a_name_and_of_the_same_letters(tmp_path: Path) -> None:
    sample = sample_of(written(tmp_path / "a.ndjson", {"": 1, "a": {"": 2, "B": 3, "b": 4}, "n\a": 5}))
    assert [column.source for column in sample.columns] == ["a.", "a.B"]
    assert sample.doubts == [
        "the member '' has a value in 1 record and is not read: a flow can't read a member without a name: rename it",
        "the member 'n\\x07' has a value in 1 record and is not read: its name has a character that a flow can't "
        "contain: rename it",
        "left out, as another name differs in case only: 'a.b'",
    ]
    for record in ({"": 1}, {"": {"x.y": 1}}):
        with pytest.raises(ConfigurationError, match="has no column for a flow: the member '"):
            sample_of(written(tmp_path / "b.ndjson", record))


def test_many_of_them_are_counted(tmp_path: Path) -> None:
    sample = sample_of(written(tmp_path / "a.ndjson", {"id": 1, "a": {f"b.{n}": n for n in range(30)}}))
    assert len(sample.doubts) == 21
    assert sample.doubts[-1] == "10 more members are not read"


def test_records_that_python_cannot_parse_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(f'{{"id": 1, "deep": {"[" * 100_000}{"]" * 100_000}}}\n{json.dumps(DOTTED)}\n')
    sample = sample_of(path)
    assert [column.source for column in sample.columns] == ["id", "a.d", "x.y"]
    assert [doubt for doubt in sample.doubts if "member" in doubt] == [
        problem.replace("2 records", "1 record") for problem in UNREAD
    ]


@pytest.mark.thorough
async def test_a_try_names_what_its_columns_miss(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        'flow = "f"\nversion = "v1"\nsource.format = "ndjson"\n[columns.id]\n[columns.c]\nsql = \'"a.b.c"\'\n'
        "[columns.w]\nfrom = { first = ['x.y', 'x.q'] }\n"
    )
    sample = written(tmp_path / "a.ndjson", DOTTED, DOTTED, {"a": {"b": {"c": 1}}, "x.q": 1, "id": 3})
    async with open_trial(sample) as trial:
        tried = await trial.try_flow(tmp_path / "f.toml")
        assert list(tried.metrics["warnings"]) == UNREAD
        # A flow that reads the objects reads what is in them.
        (tmp_path / "f.toml").write_text(f"{(tmp_path / 'f.toml').read_text()}[columns.a]\n[columns.x]\n")
        assert (await trial.try_flow(tmp_path / "f.toml")).metrics["warnings"] == {}


@pytest.mark.parametrize("source", [None, {"format": "json", "json": {"records": "others"}}])
def test_a_proposal_names_them(tmp_path: Path, source: Json | None) -> None:
    target = of_schema({"properties": {"id": {"type": "integer"}}}, "f", "v1", "s")
    path = tmp_path / "a.json"
    records = (
        [DOTTED, DOTTED] if source is None else {"more": [{"n": n} for n in range(9)], "others": [DOTTED] * 2}
    )
    path.write_text(json.dumps(records))
    found = proposed(target, path, source=source)
    (sample,) = found["samples"]
    assert sample["columns"] == ["id", "a.d", "x.y"]
    assert [doubt for doubt in sample["doubts"] if "member" in doubt] == UNREAD
    assert "the member 'b.c' in 'a'" in found["toml"].replace("\n# ", " ")


@pytest.mark.parametrize(
    "steps", [("a",), ("a", "b"), ("a.b",), ("a", ""), ("", "a"), ("a/b", "~c"), ('"', "0")]
)
def test_a_readable_path_is_one_of_the_pointers_of_its_name(steps: Steps) -> None:
    assert why_unreadable(steps) is None
    assert pointer_of(steps) in pointers(".".join(steps))


@pytest.mark.parametrize("steps", [("",), ("a", "b.c"), ("a.b", "c"), ("a", "."), ("a\x00",), ("\ud800",)])
def test_no_name_stands_for_others(steps: Steps) -> None:
    assert why_unreadable(steps)


@pytest.mark.thorough
@examples(30)
@given(RECORDS, st.sampled_from(["json", "ndjson"]))
def test_every_member_is_read_or_named(records: list[Json], format: str) -> None:
    text = json.dumps(records) if format == "json" else "".join(f"{json.dumps(one)}\n" for one in records)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{format}"
        path.write_text(text)
        members = [steps for one in records for steps, _ in leaves_of(one)]
        if all(map(is_unnameable, members)):
            with suppress(ConfigurationError):  # else it has columns without a value
                sample_of(path)
            return
        sample = sample_of(path)
        rows = read_by_a_run(Path(folder) / "run", text.encode(), sample)
        check_read_or_named(sample, rows, [list(leaves_of(one)) for one in records])


def is_unnameable(steps: Steps) -> bool:
    return steps == ("",) or (len(steps) > 1 and any("." in one for one in steps))


TAGS = ["a", "A", "b", "a.b", "b.c", "é", "x-y"]
ELEMENTS = st.recursive(
    st.sampled_from(["", "1", "x", "é & <"]),
    lambda inner: st.lists(st.tuples(st.sampled_from(TAGS), inner), min_size=1, max_size=3),
    max_leaves=6,
)


def element_of(tag: str, content: Any) -> ElementTree.Element:
    made = ElementTree.Element(tag)
    if isinstance(content, str):
        made.text, made.attrib = content, {"n.o": content} if content else {}
    else:
        made.extend([element_of(*one) for one in content])
    return made


def texts_of(element: ElementTree.Element, path: str = "") -> Iterator[tuple[Steps, Any]]:
    """Each text and attribute by its path."""
    for name, value in element.attrib.items():
        yield (f"{path}/@{name}".lstrip("/"),), value
    if element.text and path:
        yield (path,), element.text
    seen = dict[str, int]()
    for child in element:
        seen[child.tag] = count = seen.get(child.tag, 0) + 1
        own = child.tag if count == 1 else f"{child.tag}[{count}]"
        yield from texts_of(child, f"{path}/{own}".lstrip("/"))


@pytest.mark.thorough
@examples(30)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TAGS), ELEMENTS), min_size=1, max_size=3), min_size=2, max_size=3
    )
)
def test_every_text_of_xml_is_read_or_named(records: list[Any]) -> None:
    document = ElementTree.Element("root")
    document.extend([element_of("row", one) for one in records])
    content = ElementTree.tostring(document, encoding="utf-8")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.xml"
        path.write_bytes(content)
        sample = sample_of(path)
        if sample.source["xml"]["records"] != "root/row":
            return
        rows = read_by_a_run(Path(folder) / "run", content, sample)
        check_read_or_named(sample, rows, [list(texts_of(one)) for one in document])
