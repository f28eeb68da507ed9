"""`lume flow map`: a flow file from a target and samples."""

import csv
import json
import os
import re
import sqlite3
import stat
import tomllib
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from cli.shell import Done, Shell

from lume_async import ConfigurationError
from lume_local._mapping.proposal import LayoutProposal, ProposedFlow
from lume_local._trials import propose as proposing

SCHEMA = {
    "title": "people",
    "required": ["email"],
    "properties": {
        "email": {"type": "string", "format": "email"},
        "birth_date": {"type": "string", "format": "date"},
        "size": {"type": "string", "enum": ["S", "L"]},
    },
}
SAMPLE = "E-Mail;geboren am;Größe\na@example.org;13.02.1990;Small\nb@example.org;03.04.1985;Large\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "leute.csv").write_text(SAMPLE)
    return tmp_path


def mapped(shell: Shell, *words: str) -> Done:
    return shell.lume("flow", "map", *words)


def test_what_is_written_can_be_tried_at_once(lone: Shell, folder: Path) -> None:
    done = mapped(lone, "people.json", "leute.csv", "-o", "flows/")
    assert done.code == 0, done.err
    assert "3 of 3 columns mapped" in done.err
    assert "13.02.1990" in done.err, "a value before"
    assert "1990-02-13" in done.err, "and after"
    with (folder / "seeds/people_size_values.csv").open() as file:
        assert [row["target"] for row in csv.DictReader(file)] == ["S", "L"]
    tried = lone.lume("flow", "try", "flows/people.v1.toml", "leute.csv", "-o", "json")
    assert tried.code == 0, tried.out
    clean = json.loads(tried.out)["clean"]
    assert clean[0] == {"email": "a@example.org", "birth_date": "1990-02-13", "size": "S"}


VERSION = """\
# mine
flow = "people"
version = "v1"  # the first
[columns.name]
[layouts.a]
source.header = { contains = ["Vorname"] }
[layouts.a.columns]
name = { from = ["Vorname"] }  # also mine
"""


def test_the_next_version_keeps_the_comments_of_a_file_with_layouts(lone: Shell, folder: Path) -> None:
    (folder / "people.toml").write_text(VERSION)
    (folder / "b.csv").write_text("Name,Other\nAnn,1\nBob,2\n")
    done = mapped(lone, "people.toml", "b.csv", "-o", "flows/")
    assert done.code == 0, done.err
    written = (folder / "flows/people.v2.toml").read_text()
    assert written.startswith(VERSION.replace('"v1"', '"v2"'))
    assert tomllib.loads(written)["layouts"]["b"]["columns"] == {"name": {"from": ["Name"]}}
    assert "# b: as in b.csv." in written
    assert "the comments of" not in done.err
    (folder / "people.toml").write_text(VERSION.partition("[layouts")[0])
    (folder / "b.csv").write_text("Customer name,Other\nAnn,1\nBob,2\n")
    done = mapped(lone, "people.toml", "b.csv", "-o", "flows/", "--force")
    assert "decide: the comments of the version before are not in this one" in done.err


def test_the_encoding_of_one_of_several_samples(lone: Shell, folder: Path) -> None:
    (folder / "b.csv").write_bytes(SAMPLE.replace("Small", "\x81\x8d").encode("latin-1"))
    refused = mapped(lone, "people.json", "leute.csv", "b.csv")
    assert refused.code == 1
    assert "b.csv is not UTF-8" in refused.err
    assert "pass --encoding SAMPLE=NAME" in refused.err
    done = mapped(lone, "people.json", "leute.csv", "b.csv", "--encoding", "./b.csv=cp1256", "--json")
    assert done.code == 0, done.err
    found = [one["source"]["csv"]["encoding"] for one in json.loads(done.out)["samples"]]
    assert found == ["utf-8", "cp1256"]
    unknown = mapped(lone, "people.json", "leute.csv", "--encoding", "c.csv=cp1256")
    assert "encoding: c.csv is none of the samples" in unknown.err


@pytest.mark.thorough
def test_a_name_for_the_next_version_of_another_flow_is_refused(lone: Shell, folder: Path) -> None:
    assert mapped(lone, "people.json", "leute.csv", "-o", "flows/").code == 0
    target = "flows/people.v1.toml"
    refused = mapped(lone, target, "leute.csv", "--name", "folk", "-o", "flows/")
    assert refused.code != 0
    assert "the proposal is the next version of 'people': leave out the name 'folk'" in refused.err
    assert not (folder / "flows/people.v2.toml").exists()
    assert mapped(lone, target, "leute.csv", "--name", "people", "-o", "flows/").code == 0


@pytest.mark.thorough
def test_the_encoding_that_a_sample_is_doubted_in_may_be_given(lone: Shell, folder: Path) -> None:
    (folder / "alt.csv").write_bytes("E-Mail|Ort\na@example.org|Köln\n".encode("cp850"))
    assert "pass --encoding, such as cp" in mapped(lone, "people.json", "alt.csv").err
    done = mapped(lone, "people.json", "alt.csv", "--encoding", "cp850", "--delim", "|", "--json")
    assert done.code == 0, done.err
    source = json.loads(done.out)["definition"]["source"]
    assert source["csv"] == {"delim": "|", "encoding": "cp850"}


@pytest.mark.thorough
def test_nothing_is_overwritten_unasked(lone: Shell, folder: Path) -> None:
    assert mapped(lone, "people.json", "leute.csv", "-o", "flows/").code == 0
    for gone in ("flows/people.v1.toml", "seeds/people_size_values.csv"):
        kept = (folder / gone).read_text()
        (folder / gone).unlink()
        again = mapped(lone, "people.json", "leute.csv", "-o", "flows/")
        assert (again.code, "exists; pass --force" in again.err) == (2, True)
        assert not (folder / gone).exists(), "nothing is written by halves"
        (folder / gone).write_text(kept)
    assert mapped(lone, "people.json", "leute.csv", "-o", "flows/", "--force").code == 0


@pytest.mark.thorough
def test_the_proposal_as_toml_and_as_json(lone: Shell, folder: Path) -> None:
    as_toml = mapped(lone, "people.json", "leute.csv", "--name", "folk")
    definition = tomllib.loads(as_toml.out)
    assert definition["flow"] == "folk"
    assert "seed files are written with -o only" in as_toml.err
    as_json = json.loads(mapped(lone, "people.json", "leute.csv", "--name", "folk", "--json").out)
    assert as_json["definition"] == definition
    assert as_json["layouts"][0]["columns"][0]["candidates"]


@pytest.mark.thorough
def test_a_version_that_reads_a_sample_gets_a_layout_only_if_asked(lone: Shell, folder: Path) -> None:
    (folder / "one.csv").write_text("E-Mail,Größe\na@example.org,S\n")
    assert "birth_date  -       unmapped" in mapped(lone, "people.json", "one.csv", "-o", "flows/").err
    (folder / "two.csv").write_text("E-Mail,Größe,Birth_Date,Ort\na@example.org,S,1990-02-13,Ulm\n")
    done = mapped(lone, "flows/people.v1.toml", "two.csv", "-o", "flows/")
    assert done.code == 0, done.err
    assert "decide: birth_date is not read, and 'Birth_Date' may be it" in done.err
    assert "people:v1 reads every sample: there is nothing to write" in done.err
    assert not (folder / "flows/people.v2.toml").exists()
    done = mapped(lone, "flows/people.v1.toml", "two.csv", "-o", "flows/", "--layout", "dated")
    assert "dated, a new layout, reads two.csv" in done.err
    assert "3 of 3 columns mapped" in done.err
    assert "not read: Ort\n" in done.err
    assert "people:v2 on two.csv by layout dated: 1 row read, 1 clean, 0 rejected" in done.err
    tried = lone.lume("flow", "try", "flows/people.v2.toml", "two.csv", "-o", "json")
    assert json.loads(tried.out)["clean"] == [
        {"email": "a@example.org", "birth_date": "1990-02-13", "size": "S"}
    ]
    again = mapped(lone, "flows/people.v2.toml", "one.csv", "--layout", "dated")
    assert (again.code, "people:v2 has a layout 'dated' already" in again.err) == (1, True)


def test_a_required_column_that_nothing_is_read_for_is_left_to_decide(lone: Shell, folder: Path) -> None:
    (folder / "ort.csv").write_text("Ort;geboren am\nUlm;13.02.1990\n")
    done = mapped(lone, "people.json", "ort.csv")
    assert "decide: email is required, and nothing is read for it\n" in done.err
    assert "# Decide: email is required, and nothing is read for it." in done.out
    assert done.err.count("is required") == 1, "the others are not"


@pytest.mark.thorough
def test_a_version_of_the_server_is_a_target(shell: Shell) -> None:
    (shell.folder / "new.csv").write_text("id,E-Mail address,Alter\n1,a@example.org,31\n2,b@example.org,47\n")
    done = mapped(shell, "people:v1", "new.csv")
    assert done.code == 0, done.err
    assert tomllib.loads(done.out)["version"] == "v2"
    assert tomllib.loads(done.out)["layouts"]["new"]["columns"]["age"]["from"] == ["Alter"]


@pytest.mark.thorough
def test_a_table_and_a_dbt_model_are_targets(lone: Shell, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "w.db")) as connection, connection:
        connection.execute("CREATE TABLE people (email TEXT NOT NULL, birth_date DATE)")
    url = f"sqlite:///{folder / 'w.db'}"
    of_table = lone.lume("flow", "map", "env:WAREHOUSE_URL:people", "leute.csv", WAREHOUSE_URL=url)
    assert of_table.code == 0, of_table.err
    columns = tomllib.loads(of_table.out)["columns"]
    assert columns["email"] == {"from": ["E-Mail"], "type": "string", "required": True}
    assert columns["birth_date"]["format"] == "date"
    (folder / "schema.yml").write_text("models: [{name: people, columns: [{name: email, tests: [unique]}]}]")
    of_model = mapped(lone, "schema.yml:people", "leute.csv")
    assert tomllib.loads(of_model.out)["columns"]["email"]["unique"] is True


def program(folder: Path, code: str) -> str:
    path = folder / "ask-my-model"
    path.write_text(f"#!/usr/bin/env python3\nimport json, sys, time\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return os.fspath(path)


@pytest.mark.thorough
def test_a_program_may_suggest(lone: Shell, folder: Path) -> None:
    (folder / "odd.csv").write_text("E-Mail,zz\na@example.org,1990-02-13\n")
    assert "birth_date" not in _sources(mapped(lone, "people.json", "odd.csv", "--json"))
    suggests = program(
        folder,
        "asked = json.load(sys.stdin)\n"
        "assert 'example.org' not in json.dumps(asked), 'no values are given to it'\n"
        "found = [{'target': t, 'sources': asked['unused']} for t in asked['unmapped'] if t == 'birth_date']\n"
        "print(json.dumps({'suggestions': found}))",
    )
    done = mapped(lone, "people.json", "odd.csv", "--json", "--suggest", suggests)
    assert _sources(done)["birth_date"] == ["zz"], done.err


def _sources(done: Done) -> dict[str, list[str]]:
    columns = json.loads(done.out)["layouts"][0]["columns"]
    return {one["name"]: one["chosen"]["sources"] for one in columns if one["chosen"]}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('hello')", "did not write JSON"),
        ("print('[]')", 'must write {"suggestions"'),
        ("print(json.dumps({'suggestions': [{'target': 1}]}))", "is not"),
        ("print('x' * 2_000_000)", "wrote more than 1,048,576 bytes"),
    ],
)
def test_a_program_that_misbehaves_is_reported(folder: Path, code: str, words: str) -> None:
    layout = LayoutProposal("", True, [], {}, [], [], [])
    found = ProposedFlow("people:v1", "people.json", [], [layout], [], {}, "")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        anyio.run(proposing.ask, program(folder, code), found)


def test_the_end_of_a_program_is_an_error_of_the_command(lone: Shell, folder: Path) -> None:
    suggests = program(folder, "sys.exit('no model today')")
    done = mapped(lone, "people.json", "leute.csv", "--suggest", suggests)
    assert (done.code, "ended with exit code 1: no model today" in done.err) == (1, True), done.err


def test_a_program_that_never_ends_is_stopped(
    lone: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "SECONDS", 0.5)
    with pytest.raises(ConfigurationError, match="took longer than"):
        anyio.run(proposing._bounded, program(folder, "time.sleep(60)"), b"{}")


@pytest.mark.parametrize(
    ("target", "words"),
    [("leute.csv", "is not a JSON Schema"), ("env:NOT_SET:people", "NOT_SET is not set")],
)
def test_a_target_that_is_none_is_reported(lone: Shell, folder: Path, target: str, words: str) -> None:
    done = mapped(lone, target, "leute.csv")
    assert (done.code, words in done.err) == (1, True), done.err
