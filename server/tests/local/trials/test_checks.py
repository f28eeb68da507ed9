"""Checking a flow file without a server."""

import os
from pathlib import Path

import pytest
from forked import altered
from local.flows import NOTES, PEOPLE
from local.processes import workers

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._runs.workers import child


async def test_a_flow_without_mistakes(tmp_path: Path) -> None:
    others = workers(os.getpid())  # those of a server that lives as long as the whole test run
    (tmp_path / "people.toml").write_text(PEOPLE)
    (tmp_path / "notes.toml").write_text(NOTES)
    checked = await lume_local.check_flow(tmp_path / "people.toml")
    assert (checked.ref, checked.columns) == ("people:v1", ("id", "email", "age"))
    assert (await lume_local.check_flow(str(tmp_path / "notes.toml"))).ref == "notes:v1"
    assert sorted(os.listdir(tmp_path)) == ["notes.toml", "people.toml"]
    assert set(workers(os.getpid())) <= set(others)


async def test_a_mark_at_the_beginning_of_a_file_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "people.toml").write_text(PEOPLE, encoding="utf-8-sig")
    assert (await lume_local.check_flow(tmp_path / "people.toml")).ref == "people:v1"
    async with lume_local.serve(tmp_path, tmp_path / ".lume") as server, server.client() as client:
        assert (await client.register_flow(tmp_path / "people.toml")).flow_version == "people:v1"
        assert (await client.register_flow("\ufeff" + PEOPLE)).flow_version == "people:v1"
        assert "people:v1" in [one.flow_version async for one in client.list_flows()]


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (b'flow = "f"\nversion = v1', "", "is not TOML"),
        (b"flow = " + b"[" * 5000, "", "is not TOML: its values are nested too deeply"),
        (b"flow = " + b"1" * 5000, "", "is not TOML: Exceeds the limit"),
        (b"\xff\xfe", "", "is not UTF-8"),
        (b'flow = "f"\nversion = "v1"\n[columns.a]\nrequird = true', "columns.a.requird", "did you mean"),
        (b'flow = "f"\nversion = "v1"\n[columns.a]\nsql = "lowr(b)"', "columns.a.sql", "lowr"),
    ],
)
async def test_mistakes_and_their_places(tmp_path: Path, text: bytes, place: str, problem: str) -> None:
    others = workers(os.getpid())
    (tmp_path / "bad.toml").write_bytes(text)
    with pytest.raises(lume_local.FlowError) as caught:
        await lume_local.check_flow(tmp_path / "bad.toml")
    assert caught.value.place == place
    assert problem in caught.value.problem
    assert set(workers(os.getpid())) <= set(others)


MANY = """flow = "f"
version = 7
[source]
formt = "csv"
[columns.a]
sql = "lowr(b)"
[columns.amount]
sql = "b"
type = "number"
maxLength = 3
requird = true
[columns."c.d"]
sql = "nope("
[columns.e]
type = "strng"
[[rules]]
name = "positive"
sql = "amount > 0"
[[rules]]
name = "other"
[[rules]]
name = "wrong"
sql = "amonut > 0"
[[rules]]
sql = "amonut > 1"
"""


async def test_all_mistakes_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(MANY)
    with pytest.raises(lume_local.FlowError) as caught:
        await lume_local.check_flow(tmp_path / "bad.toml")
    mistakes = [caught.value, *caught.value.others]
    assert {mistake.place: mistake.line for mistake in mistakes} == {
        "version": 2,
        "source.formt": 4,
        "columns.a.sql": 6,
        "columns.amount.maxLength": 10,
        "columns.amount.requird": 11,
        "columns.c.d.sql": 13,
        "columns.e.type": 15,
        "rules[1].sql": 19,
        "rules[2].sql": 23,
        "rules[3].name": 24,
        "rules[3].sql": 25,
    }


LAYOUTS = """flow = "f"
version = "v1"
[source]
csv = { delim = ";" }
[columns.id]
type = "integer"
[columns.amount]
[layouts.a]
mach = "a/*"
[layouts.a.columns]
id = 'lowr("Id")'
amount = '"Total"'
[layouts.b.source]
format = "jsn"
where = "now()"
[layouts.b.columns.id]
from = ["Nr"]
sql = "nope("
[layouts.b.columns.amount]
sql = "\\"Sum\\""
required = true
[layouts.c.columns]
id = "lowr(x)"
"""


async def test_all_mistakes_of_layouts_are_found_at_once_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(LAYOUTS)
    with pytest.raises(lume_local.FlowError) as caught:
        await lume_local.check_flow(tmp_path / "f.toml")
    found = {(one.place, one.line) for one in (caught.value, *caught.value.others)}
    assert found == {
        ("source.csv", 4),
        ("layouts.a.mach", 9),
        ("layouts.a.columns.id.sql", 11),
        ("layouts.b.source.format", 14),
        ("layouts.b.source.where", 15),
        ("layouts.b.columns.id.sql", 18),
        ("layouts.b.columns.amount.required", 21),
        ("layouts.c.columns.id.sql", 23),
    }


async def test_a_key_that_is_wrong_is_not_called_missing(tmp_path: Path) -> None:
    upsert = '[target]\nmapped = { url_env = "WH", table = "t", mode = "upsert", key = ["a"] }\n'
    columns = "[columns.a]\nrequired = true\n[columns.b]\nminLength = true\n"
    (tmp_path / "bad.toml").write_text(f'flow = "f"\nversion = "v1"\n{upsert}{columns}')
    with pytest.raises(lume_local.FlowError) as caught:
        await lume_local.check_flow(tmp_path / "bad.toml")
    mistakes = [caught.value, *caught.value.others]
    assert sorted(mistake.place for mistake in mistakes) == ["columns.b.minLength", "target.mapped.key"]
    assert any("'a' can occur twice" in mistake.problem for mistake in mistakes)


async def test_what_can_not_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        await lume_local.check_flow(tmp_path / "absent.toml")
    (tmp_path / "people.toml").write_text(PEOPLE)
    monkeypatch.setattr(child, "default_start", altered(lambda _: "raise SystemExit('no duckdb here')"))
    with pytest.raises(ConfigurationError, match="no duckdb here"):
        await lume_local.check_flow(tmp_path / "people.toml")
