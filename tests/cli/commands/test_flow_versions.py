"""`lume flow list`, `register` and `diff`."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cli.shell import Shell
from local.flows import PEOPLE

from lume_cli._work.flow_diff import differences, report
from lume_sync import Client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A flow file that the server does not know."""
    path = tmp_path / "staff.v1.toml"
    path.write_text(PEOPLE.replace('"people"', f'"staff_{tmp_path.name[:40]}"'))
    return path


def ref(file: Path, version: str = "v1") -> str:
    return file.read_text().split('"')[1] + f":{version}"


def test_list(shell: Shell, client: Client) -> None:
    done = shell.lume("flow", "list")
    header, *rows = done.out.splitlines()
    assert header.split() == ["FLOW", "RUNS", "COLUMNS", "AGE", "CONTENT"]
    assert any(row.startswith("people:v1 ") for row in rows)
    (people,) = json.loads(shell.lume("flow", "list", "people", "-o", "json").out)
    assert people["runs"] == sum(1 for _ in client.list_runs(flow_version="people:v1"))
    assert people["columns"][1]["constraints"] == {"format": "email"}
    done = shell.lume("flow", "list", "nothing")
    assert (done.code, done.out) == (0, "")
    assert "there is no flow 'nothing': known are " in done.err


def test_register(shell: Shell, file: Path) -> None:
    done = shell.lume("flow", "register", file.name)
    assert (done.code, done.out.splitlines()[1].split()[0]) == (0, ref(file))
    assert f"{ref(file)} registered" in done.err
    again = shell.lume("flow", "register", file.name, "-o", "ndjson")
    assert (again.code, json.loads(again.out)["is_new"]) == (0, False)


def test_other_content_is_refused_and_the_others_are_registered(
    shell: Shell, file: Path, tmp_path: Path
) -> None:
    shell.lume("flow", "register", file.name)
    file.write_text(file.read_text().replace("150", "120"))
    broken, good = tmp_path / "broken.toml", tmp_path / "good.toml"
    broken.write_text("flow = ")
    good.write_text(file.read_text().replace('"v1"', '"v2"'))
    done = shell.lume("flow", "register", file.name, broken.name, good.name)
    assert done.code == 2
    assert "a version never changes" in done.err
    assert "`lume flow diff FILE` shows what differs" in done.err
    assert "broken.toml: this is not TOML" in done.err
    assert ref(file, "v2") in done.out


def test_diff(shell: Shell, file: Path, tmp_path: Path) -> None:
    shell.lume("flow", "register", file.name)
    same = shell.lume("flow", "diff", file.name)
    assert (same.code, same.out) == (0, "")
    assert "no differences" in same.err
    file.write_text(file.read_text().replace("maximum = 150", "maximum = 120") + "required = true\n")
    done = shell.lume("flow", "diff", file.name)
    assert done.out.splitlines() == [
        "- columns.age.maximum = 150",
        "+ columns.age.maximum = 120",
        "+ columns.age.required = true",
    ]
    back = shell.lume("flow", "diff", file.name, ref(file), "-o", "json")
    assert json.loads(back.out) == [
        {"place": "columns.age.maximum", "before": 120, "after": 150},
        {"place": "columns.age.required", "before": True, "after": None},
    ]


def test_what_can_not_be_compared(shell: Shell) -> None:
    for words, code, said in (
        (["people:v1"], 2, "name two flow versions, or a flow file"),
        (["people:v1", "people:v9"], 1, "there is no flow version 'people:v9'"),
        (["nowhere.toml"], 2, "nowhere.toml can't be read: No such file"),
        (["people:v1", "people"], 2, "'people' is not a flow version"),
    ):
        done = shell.lume("flow", "diff", *words)
        assert (done.code, done.out) == (code, ""), done.err
        assert said in done.err


def test_rules_are_compared_by_their_names() -> None:
    before = {"flow": "a", "version": "v1", "rules": [{"name": "x", "sql": "1"}, {"name": "y", "sql": "2"}]}
    after = {"flow": "a", "version": "v2", "rules": [{"name": "y", "sql": "3"}], "source": {"csv": {}}}
    lines = [line for one in differences(before, after) for line in one.lines()]
    assert lines == [
        '- rules.x.sql = "1"',
        '- rules.y.sql = "2"',
        '+ rules.y.sql = "3"',
        "+ source.csv = {}",
    ]


def test_a_layout_is_compared_as_a_whole() -> None:
    columns = {"columns": {"id": '"Id"'}}
    before: dict[str, Any] = {"layouts": {"a": columns, "b": columns, "same": columns, "empty": {}}}
    after: dict[str, Any] = {
        "layouts": {
            "c-d": columns | {"match": ["c/*"]},
            "same": columns,
            "b": {"columns": {"id": '"No"'}, "match": "b"},
        },
        "rejects": {"max_ratio": 0.1},
    }
    assert report(differences(before, after), before, after) == [
        "+ rejects.max_ratio = 0.1",
        "layout a: removed",
        '- layouts.a.columns.id = "\\"Id\\""',
        "layout b: changed",
        '- layouts.b.columns.id = "\\"Id\\""',
        '+ layouts.b.columns.id = "\\"No\\""',
        '+ layouts.b.match = "b"',
        "layout empty: removed",
        "- layouts.empty = {}",
        "layout c-d: added",
        '+ layouts.c-d.columns.id = "\\"Id\\""',
        '+ layouts.c-d.match = ["c/*"]',
    ]


@pytest.mark.parametrize("layouts", ["csv", [], 7, None])
def test_what_is_no_table_of_layouts_is_compared_like_other_values(layouts: Any) -> None:
    before, after = {"layouts": layouts}, {"layouts": {"a": {"match": "a/*"}}}
    assert "layout a: added" in report(differences(before, after), before, after)


def test_a_version_of_the_server_becomes_a_flow_file(shell: Shell, tmp_path: Path) -> None:
    """Registering the file again finds the same content."""
    done = shell.lume("flow", "show", "people:v1")
    assert done.code == 0
    assert tomllib.loads(done.out)["flow"] == "people"
    to = tmp_path / "people again.toml"
    assert shell.lume("flow", "show", "people:v1", "--to", to.name).err == f"wrote {to.name}\n"
    assert to.read_text() == done.out
    assert (
        "people:v1 is already registered with the same content" in shell.lume("flow", "register", to.name).err
    )
    again = shell.lume("flow", "show", "people:v1", "--to", to.name)
    assert (again.code, "File exists" in again.err) == (1, True)
    as_json = shell.lume("flow", "show", "people:v1", "-o", "json")
    assert json.loads(as_json.out) == tomllib.loads(done.out)
    assert shell.lume("flow", "show", "people:v9").code == 1
    assert shell.lume("flow", "show", "people").code == 2
