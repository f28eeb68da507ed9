"""`lume table`: the current clean rows of a flow, printed and as a file."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli.shell import Shell
from components import package

from lume_cli.commands import table
from lume_sync import Client

parquet, ipc = package("pyarrow.parquet"), package("pyarrow.ipc")
FLOW: dict[str, Any] = {
    "flow": "clean",
    "version": "v1",
    "target": {"mapped": "{data}/clean/{run_id}.parquet"},
    "columns": {"id": {"type": "integer", "required": True}, "name": {}},
}
ROWS = [{"id": 1, "name": "Ann"}, {"id": 3, "name": "a,b\x1b"}]


@pytest.fixture
def ran(client: Client, source: Callable[..., str], request: pytest.FixtureRequest) -> tuple[str, str]:
    """A flow of the test's own, and its source."""
    flow = re.sub(r"\W+", "_", f"clean {request.node.name}")
    client.register_flow(FLOW | {"flow": flow})
    name = source('id,name\n1,Ann\nx,Bob\n3,"a,b\x1b"\n')
    assert client.run(f"{flow}:v1", name).wait(30).metadata.metrics.rows_mapped == 2
    return flow, name


def read(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        return list(parquet.read_table(file).to_pylist())
    if file.suffix == ".arrow":
        return list(ipc.open_file(file).read_all().to_pylist())
    if file.suffix == ".ndjson":
        return [json.loads(line) for line in file.read_text().splitlines()]
    assert file.read_text() == 'id,name\n1,Ann\n3,"a,b\x1b"\n'
    return ROWS


def test_as_text(shell: Shell, ran: tuple[str, str]) -> None:
    flow, name = ran
    assert shell.lume("table", flow).out.splitlines()[1].split() == ["1", "Ann"]
    assert json.loads(shell.lume("table", flow, "--json").out) == ROWS
    lines = shell.lume("table", f"{flow}:v1", "--source", name, "-o", "ndjson").out.splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert shell.lume("table", flow, "-o", "csv").out == 'id,name\n1,Ann\n3,"a,b\x1b"\n'
    for nothing in (["--as-of", "2020-01-01T00:00:00Z"], ["--source", "other.csv"]):
        assert json.loads(shell.lume("table", flow, *nothing, "--json").out) == []
    now = datetime.now().astimezone()
    for hours, found in ((-1, []), (1, ROWS)):  # without a zone: local, as printed by people's clocks
        for moment in ((now + timedelta(hours=hours)).replace(tzinfo=None), now + timedelta(hours=hours)):
            assert (
                json.loads(shell.lume("table", flow, "--as-of", f"{moment:%Y-%m-%d %H:%M%z}", "--json").out)
                == found
            )


def test_a_long_table_is_cut(
    shell: Shell, ran: tuple[str, str], client: Client, source: Callable[..., str]
) -> None:
    flow, _ = ran
    client.run(f"{flow}:v1", source("id,name\n" + "7,x\n" * 200)).wait(30)
    done = shell.lume("table", flow)
    assert (len(done.out.splitlines()), "the first 100 rows" in done.err) == (101, True)
    assert len(shell.lume("table", flow, "-o", "csv").out.splitlines()) == 203


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".ndjson"])
def test_as_a_file(shell: Shell, ran: tuple[str, str], client: Client, tmp_path: Path, suffix: str) -> None:
    flow, name = ran
    file = tmp_path / f"table{suffix}"
    file.write_text("of another program")
    assert shell.lume("table", flow, "--to", file.name).out == f"{file.name}: written\n"
    assert read(file) == ROWS
    before = file.stat()

    again = json.loads(shell.lume("table", flow, "--to", file.name, "--json").out)
    is_kept = suffix in (".parquet", ".arrow")
    assert again == {"file": file.name, "written": not is_kept}
    assert (file.stat().st_ino == before.st_ino) == is_kept
    client.run(f"{flow}:v1", name, force_rerun=True).wait(30)
    assert shell.lume("table", flow, "--to", file.name).out == f"{file.name}: written\n"
    assert read(file) == ROWS
    assert [one.name for one in tmp_path.iterdir() if "table" in one.name] == [file.name]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_stays_as_it_was(
    shell: Shell, ran: tuple[str, str], client: Client, tmp_path: Path, suffix: str
) -> None:
    flow, name = ran
    file = tmp_path / f"table{suffix}"
    shell.lume("table", flow, "--to", file.name)
    before = file.read_bytes()
    (run,) = client.list_runs(flow=flow, source_path=name)
    Path(run.metadata.target_locations.mapped or "").write_bytes(b"PAR1")

    done = shell.lume("table", flow, "--to", file.name)
    assert (done.code, "output-changed" in done.err or "has been changed" in done.err) == (1, True)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if "table" in one.name] == [file.name]


def test_wrong_uses(shell: Shell, ran: tuple[str, str]) -> None:
    flow, _ = ran
    assert f"ends with {', '.join(table.FILES)}" in shell.lume("table", flow, "--to", "a.xls").err
    for moment in ("2026", "yesterday"):
        done = shell.lume("table", flow, "--as-of", moment)
        assert (
            done.code,
            f"'{moment}' is not a time: write 2026-01-31T08:00Z" in done.err,
        ) == (
            2,
            True,
        )
    done = shell.lume("table", flow, "--to", "none/a.csv")
    assert (done.code, "none/a.csv can't be written: No such file" in done.err) == (1, True)
    assert "there is no flow 'nothing_of'" in shell.lume("table", "nothing_of").err


def test_csv_has_all_digits_of_a_decimal(shell: Shell, client: Client, source: Callable[..., str]) -> None:
    columns = {
        "price": {"type": "number", "sql_type": "DECIMAL(12,2)"},
        "most": {"type": "number", "sql_type": "DECIMAL(38,10)"},
        "share": {"type": "number"},
    }
    flow = "digits_of_a_table"
    client.register_flow(FLOW | {"flow": flow, "columns": columns})
    digits = "1234567890123456789012345678.1234567890"
    client.run(f"{flow}:v1", source(f"price,most,share\n1,{digits},0.5\n-0.10,,7\n")).wait(30)
    text = f"price,most,share\n1.00,{digits},0.5\n-0.10,,7.0\n"
    assert shell.lume("table", flow, "-o", "csv").out == text
