"""`lume flow map` for several senders: their files become the layouts of one version, which runs read."""

import json
import os
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import openpyxl
import pytest
from click.testing import CliRunner, Result

import lume_local
from lume_cli._app import app
from lume_sync import Client

SCHEMA = {
    "title": "orders",
    "required": ["order_id", "order_date", "amount"],
    "properties": {
        "order_id": {"type": "integer"},
        "order_date": {"type": "string", "format": "date"},
        "customer": {"type": "string"},
        "amount": {"type": "number"},
        "quantity": {"type": "integer"},
        "country": {"type": "string"},
    },
}
FOOTERS = {"mueller.csv", "partner.xlsx"}
ROWS = 100


class Order(NamedTuple):
    number: int
    day: date
    customer: str
    cents: int
    quantity: int
    country: str


def orders(first: int) -> list[Order]:
    countries = ("DE", "AT", "CH")
    return [
        Order(
            *(first + n, date(2024, 1, 1) + timedelta(n * 3 % 200), f"Customer{n % 17}"),
            *(12_345 + n * 701, n % 9 + 1, countries[n % 3]),
        )
        for n in range(ROWS)
    ]


def point(cents: int) -> str:
    return f"{cents / 100:.2f}"


def comma(cents: int) -> str:
    return f"{cents // 100:,}".replace(",", ".") + f",{cents % 100:02}"


def lines(header: str, rows: list[list[Any]], delim: str) -> str:
    return "".join(f"{line}\n" for line in [header, *(delim.join(map(str, row)) for row in rows)])


def plain(path: Path) -> None:
    rows = [[one.number, one.day, one.customer, point(one.cents), *one[4:]] for one in orders(1000)]
    path.write_text(lines("id,date,customer,total,quantity,country", rows, ","))


def german(path: Path) -> None:
    """In cp1252, below two titles, above a total."""
    rows = [
        [one.number, f"{one.day:%d.%m.%Y}", f"{one.customer} Größe", comma(one.cents), *one[4:]]
        for one in orders(2000)
    ]
    table = lines("Bestell-Nr.;Bestelldatum;Kunde;Betrag;Menge;Land", rows, ";")
    text = f"Müller GmbH;;;;;\nBestellungen;;;;;\n{table}Summe;;;{comma(sum(one.cents for one in orders(0)))};;\n"
    path.write_bytes(text.encode("cp1252"))


def workbook(path: Path) -> None:
    """Below a title in merged cells, above a total."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Orders of May"])
    sheet.merge_cells("A1:F1")
    sheet.append(["Order No", "Order Date", "Client", "Amount", "Qty", "Country"])
    for one in orders(3000):
        sheet.append([one.number, one.day, one.customer, one.cents / 100, *one[4:]])
    sheet.append(["Total", None, None, 4711, None, None])
    book.save(path)


def archive(path: Path) -> None:
    rows = [
        [one.number, f"{one.day:%m/%d/%Y}", one.customer, point(one.cents), *one[4:]] for one in orders(4000)
    ]
    header = "order_number\torder_date\tclient\tamount\tqty\tcountry_code"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("north.csv", lines(header, rows[:50], "\t"))
        file.writestr("south.csv", lines(header, rows[50:], "\t"))


def nested(path: Path) -> None:
    found = [
        {
            "order": {"id": one.number, "date": str(one.day)},
            "customer": {"name": one.customer, "country": one.country},
            "amount": one.cents / 100,
            "quantity": one.quantity,
        }
        for one in orders(5000)
    ]
    path.write_text(json.dumps({"page": 1, "data": {"orders": found}}))


def fixed(path: Path) -> None:
    rows = [[one.number, str(one.day), one.customer, point(one.cents), *one[4:]] for one in orders(6000)]
    header = ["ORDER_ID", "ORDER_DATE", "CUSTOMER", "AMOUNT", "QUANTITY", "COUNTRY"]
    widths = (10, 12, 14, 12, 10, 7)
    path.write_text(
        "".join(
            "".join(f"{c!s:<{w}}" for c, w in zip(row, widths, strict=True)) + "\n" for row in [header, *rows]
        )
    )


FILES = {
    "webshop.csv": plain,
    "mueller.csv": german,
    "partner.xlsx": workbook,
    "branches.zip": archive,
    "api.json": nested,
    "legacy.txt": fixed,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a target and a file of each sender."""
    (tmp_path / "in").mkdir()
    (tmp_path / "orders.json").write_text(json.dumps(SCHEMA))
    for name, write in FILES.items():
        write(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with (
        lume_local.serve_in_thread(flows=None, data=folder / ".lume", roots=[folder], max_active=1) as server,
        Client(server.api_key, base_url=server.base_url) as client,
    ):
        yield client


def mapped(*words: str) -> Result:
    done = CliRunner().invoke(app, ["flow", "map", *words, "-o", "flows/"])
    assert done.exit_code == 0, done.stderr
    return done


def samples() -> list[str]:
    return [os.path.join("in", name) for name in FILES]


def read(client: Client, version: str, source: str) -> tuple[Any, list[tuple[Any, ...]]]:
    """The metrics of a run, and its rows."""
    # A version that only adds layouts knows what the one before has processed.
    run = client.run(version, source, force_rerun=True).wait(timeout=60)
    assert run.mapped_location is not None, run.error_message
    return run.metadata.metrics, duckdb.execute(f"FROM '{run.mapped_location}' ORDER BY ALL").fetchall()


def test_six_senders_become_one_version_and_a_seventh_changes_nothing_for_them(
    folder: Path, client: Client
) -> None:
    confirmed = [word for name in FOOTERS for word in ("--footer", os.path.join("in", name))]
    done = mapped("orders.json", *samples(), *confirmed)
    for name in FILES:
        layout = name.partition(".")[0]
        assert f"{layout}, a new layout, reads {os.path.join('in', name)}" in done.stderr
        assert f"orders:v1 on {name} by layout {layout}: 100 rows read, 100 clean, 0 rejected" in done.stderr
    first = client.register_flow(Path("flows/orders.v1.toml")).definition
    alone = {name: read(client, "orders:v1", f"in/{name}") for name in FILES}
    for n, (name, (metrics, rows)) in enumerate(alone.items(), 1):
        assert (metrics.rows_read, metrics.rows_mapped, metrics.rows_rejected) == (ROWS, ROWS, 0), name
        for one, row in zip(orders(n * 1000), rows, strict=True):
            assert (row[0], row[1], row[3], *row[4:]) == (one.number, one.day, one.cents / 100, *one[4:])
            assert row[2].startswith(one.customer)
    client.register_flow(first | {"version": "all", "source": {**first["source"], "uri": "in/*"}})
    metrics, rows = read(client, "orders:all", "today")
    assert (metrics.rows_mapped, metrics.rows_rejected) == (600, 0)
    assert rows == sorted(row for _, several in alone.values() for row in several)

    (folder / "in/novo.csv").write_text(
        lines(
            "pedido|fecha|cliente|importe|pais",
            [[n, "31/01/2024", "Ana", "10,50", "ES"] for n in range(9)],
            "|",
        )
    )
    again = mapped("flows/orders.v1.toml", os.path.join("in", "novo.csv"), os.path.join("in", "webshop.csv"))
    assert "novo, a new layout, reads" in again.stderr
    assert "webshop, a layout of orders:v1, reads" in again.stderr
    version = client.register_flow(Path("flows/orders.v2.toml"))
    assert version.definition["layouts"] == {
        **first["layouts"],
        "novo": version.definition["layouts"]["novo"],
    }
    for name, (metrics, rows) in alone.items():
        after = read(client, "orders:v2", f"in/{name}")
        assert (after[0].rows_read, after[1]) == (metrics.rows_read, rows), name
    metrics, _ = read(client, "orders:v2", "in/novo.csv")
    assert (metrics.rows_read, metrics.rows_rejected) == (9, 0)


def test_a_footer_is_a_question_and_no_evidence(folder: Path) -> None:
    done = mapped("orders.json", os.path.join("in", "mueller.csv"))
    assert "order_id    Bestell-Nr." in done.stderr, "although its last value is no number"
    assert "decide: in/mueller.csv: the last lines begin with 'Summe'" in done.stderr.replace(os.sep, "/")
    assert "orders:v1 on mueller.csv: 101 rows read, 100 clean, 1 rejected" in done.stderr
    wrong = CliRunner().invoke(
        app, ["flow", "map", "orders.json", "in/mueller.csv", "--footer", "in/api.json"]
    )
    assert (wrong.exit_code, "footers: in/api.json is none of the samples" in wrong.stderr) == (1, True)
    text = Path("flows/orders.v1.toml").read_text()
    Path("flows/orders.v1.toml").write_text(text.replace("# footer = ", "footer = "))
    tried = CliRunner().invoke(app, ["flow", "try", "flows/orders.v1.toml", "in/mueller.csv"])
    assert (tried.exit_code, "100 rows read, 100 clean" in tried.output) == (0, True), tried.output
    again = mapped(
        "flows/orders.v1.toml", os.path.join("in", "mueller.csv"), os.path.join("in", "webshop.csv")
    )
    assert "footer" not in again.stderr, "it is answered"
    version = Path("flows/orders.v2.toml").read_text()
    assert (version.count("footer = "), version.count("# footer = ")) == (1, 0)
