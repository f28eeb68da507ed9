"""`lume flow ddl`: what it prints is a statement that the database takes."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from cli.shell import Shell
from click.testing import CliRunner

from lume_cli._app import app

FLOW = """
flow = "customers"
version = "v1"
[target]
mapped = { url_env = "W", table = "Kunden ü", mode = "upsert", key = ["id"] }
[columns.id]
type = "integer"
required = true
unique = true
[columns.amount]
type = "number"
sql_type = "DECIMAL(12,2)"
"""


def test_the_table_of_a_version_of_the_server(shell: Shell) -> None:
    """A flow that writes a file: the table has the flow's name."""
    done = shell.lume("flow", "ddl", "people:v1", "--for", "sqlite")
    assert (done.code, done.out.splitlines()[0]) == (0, 'CREATE TABLE IF NOT EXISTS "people" (')
    assert shell.lume("flow", "ddl", "people:v9", "--for", "sqlite").code == 1


def test_the_table_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(FLOW)
    found = CliRunner().invoke(app, ["flow", "ddl", str(path), "--for", "postgresql"])
    assert (found.exit_code, found.stdout) == (
        0,
        'CREATE TABLE IF NOT EXISTS "Kunden ü" (\n    "id" bigint NOT NULL,\n    "amount" numeric(12,2),\n'
        '    _lume_run_id text,\n    PRIMARY KEY ("id")\n);\n',
    )
    found = CliRunner().invoke(app, ["flow", "ddl", str(path), "--for", "sqlite", "-o", "json"])
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(json.loads(found.stdout)["ddl"])
        columns = connection.execute("SELECT name, type FROM pragma_table_info('Kunden ü')").fetchall()
    assert columns == [("id", "INTEGER"), ("amount", "NUMERIC"), ("_lume_run_id", "TEXT")]


def test_the_table_of_rejects_follows(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    rejects = 'rejects = { url_env = "W", table = "bad" }\n[columns.id]'
    path.write_text(FLOW.replace("[columns.id]", rejects, 1))
    found = CliRunner().invoke(app, ["flow", "ddl", str(path), "--for", "postgresql"])
    assert '"_lume_reasons" jsonb NOT NULL,\n    "_lume_values" json NOT NULL' in found.stdout
    found = CliRunner().invoke(app, ["flow", "ddl", str(path), "--for", "sqlite", "-o", "json"])
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(json.loads(found.stdout)["ddl"])
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert tables == [("Kunden ü",), ("bad",)]


@pytest.mark.parametrize(
    ("text", "words"), [("flow = 1", "flow: must be a string"), ("flow =", "is not valid TOML")]
)
def test_a_mistake_in_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "f.toml"
    path.write_text(text)
    found = CliRunner().invoke(app, ["flow", "ddl", str(path), "--for", "sqlite"])
    assert found.exit_code == 1
    assert words in found.stderr


@pytest.mark.parametrize("database", ["sqlite", "duckdb"])
def test_a_table_with_history(tmp_path: Path, database: str) -> None:
    """Its index, where the database can have it, follows."""
    path = tmp_path / "f.toml"
    path.write_text(FLOW.replace('key = ["id"]', 'key = ["id"], history = "scd2"'))
    found = CliRunner().invoke(app, ["flow", "ddl", str(path), "--for", database, "-o", "json"])
    statements = json.loads(found.stdout)["ddl"]
    assert ("CREATE UNIQUE INDEX" in statements) == (database == "sqlite")
    with closing(sqlite3.connect(":memory:") if database == "sqlite" else duckdb.connect()) as connection:
        for statement in statements.split(";"):
            connection.execute(statement)
        names = 'id, amount, valid_from, valid_to, "current", _lume_run_id'
        assert connection.execute(f'SELECT {names} FROM "Kunden ü"').fetchall() == []
