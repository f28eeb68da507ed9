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


@pytest.fixture(autouse=True)
def flows(home: Path) -> None:
    (home / "flows/orders.v1.toml").write_text(FIRST)
    (home / "flows/orders.v2.toml").write_text(SECOND)
    (home / "flows/sales.v1.toml").write_text(SECOND.replace('"orders"', '"sales"').replace("v2", "v1"))


@pytest.mark.parametrize(
    ("ref", "content", "other"),
    [
        ("orders:v2", "e-mail;Note;BETRAG\na@b.org;x;1\n", "orders:v1"),
        ("orders:v2", '"E-Mail";"Betrag"\na@b.org;1\n', "orders:v1"),
        ("orders:v1", "Email,Amount\na@b.org,1\n", "orders:v2"),
        ("orders:v1", "Email;Amount\na@b.org;1\n", None),
        ("orders:v2", "E-Mail,Amount\na@b.org,1\n", None),
        ("sales:v1", "E-Mail;Betrag\na@b.org;1\n", None),
    ],
)
async def test_the_version_that_reads_such_a_file_is_named(
    wire: Wire, home: Path, ref: str, content: str, other: str | None
) -> None:
    (home / "in.csv").write_text(content)
    for known in ("orders:v1", "orders:v2"):  # read from their files
        flow, version = known.split(":")
        assert (await wire.ask("GET", f"/v1/flows/{flow}/versions/{version}")).status == 200
    run = await wire.run(ref, "in.csv")
    message = run["metadata"]["error_message"]
    assert run["status"] == "FAILED"
    said = f"Its header is that of {other}, another version of this flow: run {other} on it"
    assert (said in message) is (other is not None), message
    assert ("another version" in message) is (other is not None)
