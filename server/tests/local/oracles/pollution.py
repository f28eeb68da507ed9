"""One clean table, polluted in each of the ways in which real CSV files are; from a seed.

The kinds are those that the Pollock benchmark (Vitagliano et al., VLDB 2023) defines: delimiters, quotes, escapes,
record ends, headers, rows and several tables in a file. No file of it is here: these are made anew.
"""

import random
from collections.abc import Callable

from attrs import evolve, field, frozen
from local.oracles.oracle import csv_verdict
from local.oracles.plain_csv import Dialect
from local.oracles.random_files import Case, flow_of

NAMES = ["id", "when", "amount", "note"]
COLUMNS = {
    "id": {"type": "integer", "sql_type": "BIGINT"},
    "when": {"format": "date", "sql_type": "DATE"},
    "amount": {"type": "number", "sql_type": "DECIMAL(8,2)"},
    "note": {"sql_type": "VARCHAR"},
}


@frozen
class Table:
    """A file before it is written."""

    rows: list[list[str]]
    names: list[str] = field(factory=lambda: list(NAMES))
    dialect: Dialect = field(factory=Dialect)
    ends: list[str] = field(factory=lambda: ["\n"])
    before: str = ""
    after: str = ""
    always: bool = False
    """Whether every value is quoted."""

    def content(self) -> bytes:
        lines = [self.line(row) for row in ([self.names] if self.names else []) + self.rows]
        ended = "".join(line + self.ends[n % len(self.ends)] for n, line in enumerate(lines))
        return (self.before + ended + self.after).encode()

    def line(self, row: list[str]) -> str:
        return self.dialect.delim.join(map(self.value, row))

    def value(self, text: str) -> str:
        quote, escape = self.dialect.quote, self.dialect.escape or self.dialect.quote
        if not quote or not (
            self.always or any(one in text for one in (self.dialect.delim, quote, "\r", "\n"))
        ):
            return text
        if escape != quote:
            text = text.replace(escape, escape * 2)
        return quote + text.replace(quote, escape + quote) + quote


def clean(rng: random.Random, rows: int) -> Table:
    notes = [
        "plain",
        "with, comma",
        'say "hi"',
        "two\nlines",
        "",
        "O'Neill",
        "caf\u00e9",
        "a;b|c\td",
        "C:\\new",
    ]
    return Table(
        [
            [
                str(n),
                f"20{n % 30:02}-01-{n % 28 + 1:02}",
                f"{rng.randrange(10**6) / 100:.2f}",
                rng.choice(notes),
            ]
            for n in range(rows)
        ]
    )


def _in_a_row(change: Callable[[random.Random, str], str]) -> Callable[[random.Random, Table], bytes]:
    """A change of one line of the file as it is written."""

    def polluted(rng: random.Random, table: Table) -> bytes:
        at = rng.randrange(len(table.rows))
        head, tail = evolve(table, rows=table.rows[:at]), evolve(table, rows=table.rows[at + 1 :], names=[])
        line = change(rng, table.line(table.rows[at]))
        return head.content() + (line + table.ends[0]).encode() + tail.content()

    return polluted


def _put_in(what: str) -> Callable[[random.Random, str], str]:
    def put(rng: random.Random, line: str) -> str:
        at = rng.randrange(len(line) + 1)
        return line[:at] + what + line[at:]

    return put


def _written(**changes: object) -> Callable[[random.Random, Table], bytes]:
    return lambda rng, table: evolve(table, **changes).content()


def _plain_notes(table: Table) -> Table:
    kept = str.maketrans("", "", ",;|\t\n\"' ")
    return evolve(table, rows=[[*row[:3], row[3].translate(kept)] for row in table.rows])


_SECOND = "\nkey,value\na,1\nb,2\n"
DIALECTS = {
    "delimiter ;": Dialect(";"),
    "delimiter tab": Dialect("\t"),
    "delimiter |": Dialect("|"),
    "delimiter space": Dialect(" "),
    "quote '": Dialect(",", "'"),
    "escape \\": Dialect(",", '"', "\\"),
}
"""Told to the flow, or not: `… untold`."""
POLLUTED: dict[str, Callable[[random.Random, Table], bytes]] = {
    "clean": _written(),
    "all quoted": _written(always=True),
    "empty file": lambda rng, table: b"",
    "header only": _written(rows=[]),
    "no line end at the end": lambda rng, table: table.content().rstrip(b"\n"),
    "blank lines at the end": _written(after="\n\n\n"),
    "byte order mark": lambda rng, table: b"\xef\xbb\xbf" + table.content(),
    "ends \\r\\n": _written(ends=["\r\n"]),
    "ends \\r": _written(ends=["\r"]),
    "ends mixed": _written(ends=["\n", "\r\n", "\r"]),
    "ends doubled": _written(ends=["\n\n"]),
    "delimiter of two characters": lambda rng, table: table.content().replace(b",", b", "),
    "no header": _written(names=[]),
    "header twice": lambda rng, table: evolve(table, names=[]).line(NAMES).encode() + b"\n" + table.content(),
    "header over two lines": _written(names=["id", "when", "amount", "no\nte"]),
    "header with a name twice": _written(names=["id", "id", "amount", "note"]),
    "header too short": _written(names=NAMES[:3]),
    "header too long": _written(names=[*NAMES, "more"]),
    "header with an empty name": _written(names=["id", "when", "amount", "note", ""]),
    "header in capitals": _written(names=[name.upper() for name in NAMES]),
    "header with spaces": _written(names=[f" {name} " for name in NAMES]),
    "preamble": _written(before="Report of the day\n\n"),
    "preamble as wide": _written(before="a,b,c,d\n"),
    "footnote": _written(after="Source: the shop\n"),
    "footnote with a quote": _written(after='Total: 5" each\n'),
    "second table": _written(after=_SECOND),
    "second table as wide": _written(after="\nw,x,y,z\n1,2,3,4\n"),
    "tables side by side": lambda rng, table: table.content().replace(b"\n", b",,1,2\n"),
    "field too few": _in_a_row(lambda rng, line: line.rpartition(",")[0]),
    "field too many": _in_a_row(lambda rng, line: line + ",more"),
    "delimiter at the end": _in_a_row(lambda rng, line: line + ","),
    "delimiters only": _in_a_row(lambda rng, line: ",,,"),
    "another delimiter": _in_a_row(lambda rng, line: line.replace(",", ";")),
    "blank line": _in_a_row(lambda rng, line: ""),
    "spaces only": _in_a_row(lambda rng, line: "   "),
    "a quote put in": _in_a_row(_put_in('"')),
    "two quotes put in": _in_a_row(_put_in('""')),
    "a quote that opens": _in_a_row(lambda rng, line: '"' + line),
    "a quote that closes": _in_a_row(lambda rng, line: line + '"'),
    "no quotes where they are needed": lambda rng, table: evolve(table, dialect=Dialect(",", "")).content(),
    "line end put in": _in_a_row(_put_in("\n")),
    "return put in": _in_a_row(_put_in("\r")),
    "zero byte put in": _in_a_row(_put_in("\0")),
    "other bytes put in": lambda rng, table: table.content().replace(b"\xc3\xa9", b"\xe9"),
}


def polluted_files(rng: random.Random, rows: int) -> list[tuple[str, bytes, Dialect]]:
    """A file of each kind, and the dialect that the flow says."""
    table = clean(rng, rows)
    files = [(name, pollute(rng, table), Dialect()) for name, pollute in POLLUTED.items()]
    for name, dialect in DIALECTS.items():
        content = evolve(table, dialect=dialect).content()
        files += [(name, content, dialect), (f"{name} untold", content, Dialect())]
        spoilt = POLLUTED["a quote put in"](rng, evolve(table, dialect=dialect))
        files.append((f"{name}, a quote put in", spoilt, dialect))
    files.append(
        ("no quotes", evolve(_plain_notes(table), dialect=Dialect(",", "")).content(), Dialect(",", ""))
    )
    return files


def polluted_case(content: bytes, dialect: Dialect) -> Case:
    options = {"delim": dialect.delim, "quote": dialect.quote, "escape": dialect.escape}
    return Case(content, flow_of(COLUMNS, {"csv": options}), COLUMNS, csv_verdict(content, dialect, COLUMNS))
