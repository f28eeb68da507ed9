"""Twenty files of one table, as customers send them, through one flow version; each row as it was meant."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute
from local.shards.twice import Here, compared

from lume_local._shards import coordinator

ROWS = [
    ("ann@example.com", "Ann", 12, date(2026, 1, 31)),
    ("bo@example.org", "Bo, the second", 7, date(2025, 12, 1)),
    ("cy@example.net", 'Cy "the" 3rd', 1000, date(2026, 2, 9)),
    ("dé@example.com", "Dé", 0, date(2024, 2, 29)),
]
DAYS = "[{}]".format(", ".join(f"'{one}'" for one in ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y")))
COLUMNS: dict[str, Any] = {
    "email": {
        "from": ["E-Mail", "Mail address", "Courriel", "Correo"],
        "sql": "lower(trim(value))",
        "required": True,
    },
    "name": {"from": ["Full name", "Kunde", "Nom", "Customer Name"], "sql": "trim(value)"},
    "amount": {"from": ["Betrag", "Montant", "Qty", "Amount EUR"], "type": "integer"},
    "day": {
        "from": ["Datum", "Date", "Order date"],
        "format": "date",
        "sql": f"try_strptime(value, {DAYS})::DATE",
    },
}
SOURCE: dict[str, Any] = {
    "header": "find",
    "comment": "#",
    "footer": {"starts_with": ["Total", "Summe", "Somme", "-- end"]},
    "null": ["n/a"],
}
ENGLISH, GERMAN = ["Email", "Name", "Amount", "Day"], ["E-Mail", "Kunde", "Betrag", "Datum"]
FRENCH = ["Courriel", "Nom", "Montant", "Date"]


def table(
    header: list[str],
    above: tuple[str, ...] = (),
    below: tuple[str, ...] = (),
    within: str = "",
    end: str = "\n",
    day: str = "%Y-%m-%d",
    order: tuple[int, ...] = (0, 1, 2, 3),
    more: str = "",
    bom: bool = False,
    quoted: bool = False,
) -> str:
    """A CSV file; `more` is a column that the flow does not read, `within` stands between the records."""

    def line(cells: list[str]) -> str:
        cells = [cells[n] for n in order] + ([more] if more else [])
        return ",".join(
            '"' + cell.replace('"', '""') + '"' if quoted or "," in cell or '"' in cell else cell
            for cell in cells
        )

    rows = [line([mail, name, str(amount), on.strftime(day)]) for mail, name, amount, on in ROWS]
    between = f"{end}{within}{end}" if within else end
    text = end.join([*above, line(header), between.join(rows), *below]) + end
    return f"\ufeff{text}" if bom else text


LAYOUTS: dict[str, str] = {
    "plain": table(ENGLISH),
    "german": table(GERMAN, day="%d.%m.%Y"),
    "french": table(FRENCH, day="%d/%m/%Y"),
    "upper case": table([name.upper() for name in ENGLISH]),
    "underscores": table(["mail_address", "full_name", "amount_eur", "order_date"]),
    "blanks": table(["E Mail", "Customer  Name", "QTY.", "Order Date"]),
    "accents and width": table(["Émail", "\uff4e\uff41\uff4d\uff45", "Môntant", "Dâte"]),
    "other order": table(GERMAN, order=(3, 1, 0, 2)),
    "a column more": table(ENGLISH, more="region"),
    "title": table(ENGLISH, above=("Orders of the north",)),
    "title and blank line": table(GERMAN, above=("Bestellungen", ""), day="%d.%m.%Y"),
    "title like a header": table(ENGLISH, above=("Email,Name", "Amount,Day")),
    "broken title": table(ENGLISH, above=('The "best" of 5" pipes', "")),
    "comments": table(ENGLISH, above=("# exported",), within='# 5" checked'),
    "blank lines": table(FRENCH).replace("\n", "\n\n"),
    "total": table(ENGLISH, below=("Total,,1019,",)),
    "totals and blank lines": table(GERMAN, below=("", "Summe,,1019,", "Summe netto", "")),
    "windows": table(ENGLISH, end="\r\n", bom=True, above=("Report",), below=('"Total",4',)),
    "all quoted": table(GERMAN, quoted=True, above=('"Liste"',), below=("-- end of file",)),
    "all of it": table(
        ["Correo", "Nom", "Qty", "Order-Date"],
        above=("Title,,,", "# c", "", "Email,Name"),
        below=("# d", "Somme,1", "", "Total,,,1"),
        within="# e",
        end="\r\n",
        bom=True,
        order=(3, 0, 2, 1),
    ),
}
VARIED = {"german", "accents and width", "title like a header", "windows", "all of it"}
"""Those of the quick run: together they have what the others have."""


def test_there_are_twenty() -> None:
    assert len(set(LAYOUTS.values())) == 20


@pytest.mark.parametrize(
    "layout",
    [name if name in VARIED else pytest.param(name, marks=pytest.mark.thorough) for name in LAYOUTS],
)
def test_every_layout_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(coordinator, "executor_of", lambda url: Here())
    content, flow = LAYOUTS[layout].encode(), {"columns": COLUMNS, "source": SOURCE}
    result = execute(tmp_path / "one", content, **flow)
    assert result.mapped == ROWS
    counts = result.metrics["source"]
    assert counts["lines"] == len(LAYOUTS[layout].splitlines())
    assert counts["lines"] == 1 + len(ROWS) + sum(counts.get("skipped", {}).values())
    engine = {"url": "here", "shard_bytes": 1, "shards": 3}
    compared(tmp_path / "two", [("a.csv", content)], engine, **flow)
