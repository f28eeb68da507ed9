"""A file that another version of the same flow reads: the error of its run names that version."""

from pathlib import Path

import pytest
from local.wire import Wire

FIRST = """
flow = "orders"
version = "v1"
[source]
csv = { delim = ";" }
[columns.email]
sql = '"E-Mail"'
[columns.amount]
sql = '"Betrag"'
"""
SECOND = """
flow = "orders"
version = "v2"
[columns.email]
sql = '"Email"'
[columns.amount]
sql = '"Amount"'
"""


THIRD = """
flow = "orders"
version = "v3"
[source]
header = "find"
[columns.email]
from = ["Mail", "Courriel"]
[columns.total]
from = ["Summe", "Total price"]
"""
OBJECTS = """
flow = "events"
version = "v1"
[source]
format = "ndjson"
[columns.email]
from = ["mail"]
"""


LAYOUTS = """
flow = "orders"
version = "v4"
[columns.email]
[layouts.shop.columns]
email = '"Shop mail"'
[layouts.bank.columns]
email = '"Konto"'
[layouts.bank.source]
csv = { delim = "|" }
"""


@pytest.fixture(autouse=True)
def flows(home: Path) -> None:
    (home / "flows/orders.v3.toml").write_text(THIRD)
    (home / "flows/orders.v4.toml").write_text(LAYOUTS)
    (home / "flows/events.v1.toml").write_text(OBJECTS)
    (home / "flows/events.v2.toml").write_text(OBJECTS.replace("v1", "v2").replace('"mail"', '"courriel"'))
    (home / "flows/orders.v1.toml").write_text(FIRST)
    (home / "flows/orders.v2.toml").write_text(SECOND)
    (home / "flows/sales.v1.toml").write_text(SECOND.replace('"orders"', '"sales"').replace("v2", "v1"))


FILES = [
    ("orders:v2", "e-mail;Note;BETRAG\na@b.org;x;1\n", "orders:v1"),
    ("orders:v2", '"E-Mail";"Betrag"\na@b.org;1\n', "orders:v1"),
    ("orders:v1", "Email,Amount\na@b.org,1\n", "orders:v2"),
    ("orders:v1", "Email;Amount\na@b.org;1\n", None),
    ("orders:v2", "E-Mail,Amount\na@b.org,1\n", None),
    ("sales:v1", "E-Mail;Betrag\na@b.org;1\n", None),
    ("orders:v2", "Courriel,total_price\na@b.org,1\n", "orders:v3"),
    ("orders:v3", "Report,\nEmail,Amount\na@b.org,1\n", "orders:v2"),
    ("orders:v3", "E-Mail;Betrag\na@b.org;1\n", "orders:v1"),
    ("orders:v3", "Report\nx,y\n1,2\n", None),
    ("orders:v2", "No,Shop mail\n1,a@b.org\n", "orders:v4"),
    ("orders:v1", "No|Konto\n1|a@b.org\n", "orders:v4"),
    ("orders:v1", "No,Konto\n1,a@b.org\n", None),
    ("events:v1", '{"courriel": "x"}\n', "events:v2"),
    ("events:v1", '{"courrier": "x"}\n', None),
]
"""Flow versions, the files that they are to read, and which other version reads them."""


async def test_the_version_that_reads_such_a_file_is_named(wire: Wire, home: Path) -> None:
    for known in (*(f"orders:v{n}" for n in range(1, 5)), "events:v1", "events:v2"):  # read from their files
        flow, version = known.split(":")
        assert (await wire.ask("GET", f"/v1/flows/{flow}/versions/{version}")).status == 200
    for number, (ref, content, other) in enumerate(FILES):
        (home / f"{number}.csv").write_text(content)
        run = await wire.run(ref, f"{number}.csv")
        message = run["metadata"]["error_message"]
        assert run["status"] == "FAILED", content
        what = "objects are those" if ref.startswith("events") else "header is that"
        said = f"Its {what} of {other}, another version of this flow: run {other} on it"
        assert (said in message) is (other is not None), message
        assert ("another version" in message) is (other is not None)
