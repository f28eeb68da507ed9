"""A terminal of 80 columns: no table is wider, and nothing in it is cut off."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.shell import Done, Shell
from local.flows import write_flows

from lume_cli._output.row_table import reject_table, row_table
from lume_cli._output.text import short
from lume_sync import Client, LumeRun

NAMES = ("Number", "First name", "Last name", "E-Mail", "Telephone", "Street", "City")
FLOW = """
flow = "wide"
version = "v1"
[source]
format = "csv"
[columns.number]
sql = '"Number"'
type = "integer"
required = true
[columns.email]
sql = '"E-Mail"'
required = true
"""
ROWS = "".join(
    [
        ",".join(NAMES) + "\n",
        "1,Ann,Archer,ann.archer@mail.example.org,+49 30 1234567,12 Long Street,Newcastle upon Tyne\n",
        "two,Bob,Baker,,+49 30 1234567,12 Long Street,Newcastle upon Tyne\n",
        "3,Cy,Cook,cy@example.org,+49 30 1234567,12 Long Street,York,one,too,many\n",
    ]
)
REASONS = {"number: is not a valid integer", "email: is required"}


def lines(done: Done) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in done.out.splitlines()]


def words(done: Done) -> str:
    return " ".join(" ".join(lines(done)).split())


def check(done: Done, *whole: str) -> None:
    assert max(map(len, lines(done))) <= 80, done.out
    for text in whole:
        assert text in words(done), done.out


@pytest.fixture
def run(home: Path, client: Client, source: Callable[..., str]) -> LumeRun:
    write_flows(home / "flows")
    (home / "flows" / "wide.toml").write_text(FLOW)
    return client.run("wide:v1", source(ROWS)).wait(15)


def test_rejects(shell: Shell, run: LumeRun) -> None:
    done = shell.screen("rejects", run.id)
    check(
        done,
        "line 3",
        "line 4",
        *REASONS,
        "Street: 12 Long Street",
        "City: Newcastle upon Tyne",
        "one,too,many",
    )


def test_flow_try(lone: Shell, tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text(
        FLOW + "".join(f"[columns.c{n}]\nsql = '\"{it}\"'\n" for n, it in enumerate(NAMES))
    )
    (tmp_path / "wide.csv").write_text(ROWS)
    done = lone.screen("flow", "try", "wide.toml", "wide.csv")
    check(done, "CLEAN", "email: ann.archer@mail.example.org", "REJECTED", "line 3", "line 4", *REASONS)


def test_list_with_a_resubmit_and_a_long_path(
    shell: Shell, run: LumeRun, client: Client, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "m2.csv").write_text(ROWS)
    upload = client.upload_file(tmp_path / "m2.csv")
    client.run("wide:v1", upload).wait(15)
    folder = "a-folder-with-a-rather-long-name-for-a-table"
    (home / folder).mkdir(exist_ok=True)
    (home / folder / "customers.csv").write_text(ROWS)
    path = f"{folder}/customers.csv"
    client.run("wide:v1", path, force_rerun=True).wait(15)
    done = shell.screen("list", "--flow", "wide:v1")
    check(done, "m2.csv (uploaded)", short(run.id), path)
    assert f"    {path}" in lines(done)


def test_the_summary_of_a_backfill(
    shell: Shell, run: LumeRun, source: Callable[..., str], tmp_path: Path
) -> None:
    missing = [f"no-such-file-{n}.csv" for n in range(3)]
    (tmp_path / "paths").write_text("\n".join([source(ROWS), source(ROWS), *missing]))
    done = shell.screen("backfill", "wide:v1", "--from-file", "paths", TERM="dumb")
    check(done, "rejected because:", *(f"{reason} 2" for reason in REASONS))


def test_blocks() -> None:
    row = {
        "_lume_row": 1234,
        "_lume_reasons": ["a: is empty", "b: is not a number"],
        "a": None,
        "b": "x" * 12,
    }
    assert reject_table([row], 40) == [
        "row 1,234  a: is empty; b: is not a",
        "    number",
        "  a:  b: xxxxxxxxxxxx",
    ]
    assert row_table([{"a": "x" * 20, "b": "y" * 20}], 0, 30) == [
        "-  a: xxxxxxxxxxxxxxxxxxxx",
        "  b: yyyyyyyyyyyyyyyyyyyy",
    ]


def test_a_very_long_value_says_how_long_it_is() -> None:
    (line,) = row_table([{"a": "x" * 12_000}], 0, 80)
    assert line.endswith("x… (12,000 characters)")
