"""Random tables between a preamble and a footer, with what a run must find in them."""

import random
from typing import Any

from attrs import define, field

COLUMNS: dict[str, Any] = {
    "email": {"from": ["E-Mail", "Mail"], "sql": "value", "required": True},
    "amount": {"from": ["Betrag"], "type": "integer"},
}
NAMES = ["E-Mail", "Betrag"]


@define
class Laid:
    """A file that is being written, and what is in it.

    Attributes:
        malformed: the line of each record that can't be one.
    """

    end: str
    text: str = ""
    lines: int = 0
    records: int = 0
    mapped: list[tuple[str, int]] = field(factory=list)
    malformed: list[int] = field(factory=list)
    skipped: dict[str, int] = field(factory=dict)

    def line(self, text: str, kind: str = "") -> None:
        """Physical lines, which may be several; of a kind if they are skipped."""
        count = text.count(self.end) + 1
        self.text += text + self.end
        self.lines += count
        if kind:
            self.skipped[kind] = self.skipped.get(kind, 0) + count

    def record(self, rng: random.Random, n: int) -> None:
        self.records += 1
        kind = rng.choice(("plain", "quoted", "lines", "long", "open", "totals")) if n else "plain"
        name = {
            "quoted": f'"#{n}, ""x"""',
            "lines": f'"a{self.end}# {n}{self.end}Total {n}"',
            "totals": f"Total {n}",
            "open": f'x"{n}',
        }.get(kind, f"n{n}")
        if kind in ("long", "open"):
            self.malformed.append(self.lines + 1)
            self.line(f"{name},1,2" if kind == "long" else f"{name},1")
            return
        # As DuckDB is given a copy whose line ends are plain, those within quotes stay what they are.
        value = name[1:-1].replace('""', '"') if name.startswith('"') else name
        self.mapped.append((value, n))
        self.line(f"{name},{n}")


def laid(rng: random.Random) -> tuple[Laid, dict[str, Any]]:
    """A file of CSV and the `[source]` of a flow for it."""
    file, source = Laid(rng.choice(("\n", "\n", "\r\n"))), dict[str, Any]()
    comment = rng.choice(("", "#", "--"))
    if comment:
        source["comment"] = comment
    above = rng.randrange(4)
    for n in range(above):
        text = rng.choice((f'Report "{n}" of all', "", "Mail,?", f"{comment or '#'} {n}", ",,,"))
        is_comment = bool(comment) and text.startswith(comment)
        file.line(text, "comments" if is_comment else "preamble")
    kinds = ["row", "contains", "find"] + ["none"] * (not above)
    kind = rng.choice(kinds)
    source["header"] = {"row": {"row": above + 1}, "contains": {"contains": ["betrag", "email"]}}.get(
        kind, kind
    )
    if kind == "none":
        source["names"] = NAMES
    elif kind == "row" and above == 0 and rng.random() < 0.5:
        source.pop("header")
        file.line(",".join(NAMES))
    elif kind == "row" and rng.random() < 0.5:
        source["header"]["lines"] = 2
        file.line("E,Be")
        file.line("Mail,trag")
        source["header"] = {"row": above + 1, "lines": 2}
    else:
        file.line(",".join(NAMES))
    for n in range(rng.randrange(1, 30)):
        if rng.random() < 0.15:
            file.line("", "blank")
        if comment and rng.random() < 0.15:
            file.line(rng.choice((f"{comment},{n}", f'{comment} 5" {n}', comment)), "comments")
        file.record(rng, n)
    _footer(file, source, comment, rng)
    if rng.random() < 0.3 and not file.text.endswith(file.end * 2):
        file.text = file.text.removesuffix(file.end)
    return file, source


def _footer(file: Laid, source: dict[str, Any], comment: str, rng: random.Random) -> None:
    rows, by = rng.randrange(4), rng.choice(("", "rows", "starts_with"))
    if by == "rows" and rows:
        source["footer"] = {"rows": rows}
    elif by == "starts_with":
        source["footer"] = {"starts_with": ["Summe", "Gesamt"]}
    if by and (rows or by == "starts_with"):
        for n in range(rows):
            file.line(rng.choice((f"Summe,{n}", f'"Summe, ""netto""";{n}', f" Gesamt {n}")), "footer")
            if rng.random() < 0.3:
                file.line("", "blank")
            if comment and rng.random() < 0.3:
                file.line(f'{comment} "end', "comments")
