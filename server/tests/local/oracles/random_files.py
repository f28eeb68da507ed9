"""Files and flows at random, from a seed: values of every type, nearly valid ones, and bytes that spoil them."""

import json
import random
from typing import Any

from attrs import frozen
from local.oracles.oracle import Verdict, csv_verdict, ndjson_verdict
from local.oracles.plain_csv import Dialect

INTEGERS = ("TINYINT", "INTEGER", "BIGINT", "HUGEINT")
KINDS: dict[str, dict[str, Any]] = {
    **{kind: {"type": "integer", "sql_type": kind} for kind in INTEGERS},
    **{
        kind: {"type": "number", "sql_type": kind}
        for kind in ("DECIMAL(5,2)", "DECIMAL(4,0)", "DECIMAL(38,10)")
    },
    "DOUBLE": {"type": "number", "sql_type": "DOUBLE"},
    "BOOLEAN": {"type": "boolean", "sql_type": "BOOLEAN"},
    "DATE": {"format": "date", "sql_type": "DATE"},
    "TIME": {"format": "time", "sql_type": "TIME"},
    "TIMESTAMP": {"format": "date-time", "sql_type": "TIMESTAMP"},
    "TIMESTAMPTZ": {"format": "date-time", "sql_type": "TIMESTAMPTZ"},
    "VARCHAR": {"sql_type": "VARCHAR"},
}
NEARLY: dict[str, tuple[str, ...]] = {
    "INTEGER": (
        "12.0",
        "1e3",
        "0x1F",
        "1_000",
        "+7",
        "-0",
        "007",
        "٣",
        "--1",
        "127",
        "128",
        "-129",
        "2147483648",
    ),
    "HUGEINT": ("9" * 38, "1" + "0" * 38, "-" + "9" * 38, "170141183460469231731687303715884105727"),
    "NUMBER": (
        ".5",
        "5.",
        ".",
        "1,5",
        "nan",
        "inf",
        "1e309",
        "-1e309",
        "1e-400",
        "1e5",
        "1.005",
        "999.99",
        "999.995",
    ),
    "BOOLEAN": ("true", "No", "T", "1", "0", "2", "wahr", " yes "),
    "DATE": (
        "2024-02-29",
        "2023-02-29",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31",
        "2024-1-5",
        "2024/01/05",
        "epoch",
    ),
    "TIME": (
        "24:00:00",
        "23:59:60",
        "10:30",
        "10:30:00.1234567",
        "10:30:00.1234560",
        "1:00:00",
        "10:60",
        " 10:30 ",
    ),
    "ZONE": ("", "Z", "+02:00", "-23:59", "+0530", "+05", "+24:00", " Z", "+5"),
    "VARCHAR": (
        "a,b",
        'say "x"',
        "a\nb",
        "a\r\nb",
        "\r",
        "é",
        "\\",
        "\\n",
        "'",
        ";|\t",
        "NULL",
        "#",
        " x ",
        "\u2028",
    ),
}

NO_ROWS = (
    "",
    " ",
    "{}",
    "[]",
    '[{"c0": 5}]',
    '"s"',
    "7",
    "null",
    "true",
    "x",
    '\ufeff{"c0": 1}',
    '{"\\ud800": 1}',
    "[" * 50,
)
"""Lines of NDJSON that are no row, or hardly one."""


@frozen
class Case:
    """One file with the flow that reads it, and what must become of it."""

    content: bytes
    flow: dict[str, Any]
    columns: dict[str, dict[str, Any]]
    verdict: Verdict


def random_columns(rng: random.Random, count: int) -> dict[str, dict[str, Any]]:
    """Columns of the target, which are the source's under the same names."""
    columns = {}
    for n in range(count):
        column = dict(KINDS[rng.choice(list(KINDS))])
        if rng.random() < 0.3:
            column["required"] = True
        if rng.random() < 0.2:
            column["unique"] = True
        if column.get("type") in ("integer", "number") and rng.random() < 0.3:
            column["minimum"], column["maximum"] = -50, 100
        if column["sql_type"] == "DATE" and rng.random() < 0.3:
            column["minimum"] = "2000-01-01"
        if column["sql_type"] == "VARCHAR" and rng.random() < 0.3:
            column["minLength"], column["maxLength"] = 1, 4
        columns[f"c{n}"] = column
    return columns


def text_for(rng: random.Random, column: dict[str, Any]) -> str:
    """A text that is likely to be a value of the column."""
    kind, roll = column["sql_type"], rng.random()
    if roll < 0.1:
        return ""
    if kind in INTEGERS:
        near, good = NEARLY["HUGEINT" if kind == "HUGEINT" else "INTEGER"], str(rng.randrange(-60, 110))
    elif kind.startswith(("DECIMAL", "DOUBLE")):
        near, good = NEARLY["NUMBER"], f"{rng.randrange(-5000, 11000) / 100:.{rng.randrange(3)}f}"
    elif kind in ("DATE", "TIME", "BOOLEAN"):
        near, good = (
            NEARLY[kind],
            {"DATE": _day(rng), "TIME": _clock(rng), "BOOLEAN": rng.choice("tfyn10")}[kind],
        )
    elif kind.startswith("TIMESTAMP"):
        near = (
            f"{rng.choice(NEARLY['DATE'])} {_clock(rng)}",
            f"{_day(rng)}T{rng.choice(NEARLY['TIME'])}",
            _day(rng),
        )
        good = f"{_day(rng)}{rng.choice('T ')}{_clock(rng)}{rng.choice(NEARLY['ZONE']) if rng.random() < 0.5 else ''}"
    else:
        near, good = NEARLY["VARCHAR"], "".join(rng.choices("abc xyz", k=rng.randrange(1, 6)))
    text = rng.choice(near) if roll < 0.4 else good
    return rng.choice((" {}", "{} ", "\t{}")).format(text) if rng.random() < 0.05 else text


def _day(rng: random.Random) -> str:
    return f"{rng.randrange(1990, 2030)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"


def _clock(rng: random.Random) -> str:
    fraction = f".{rng.randrange(10**6):06}".rstrip("0").rstrip(".") if rng.random() < 0.3 else ""
    return f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}{fraction}"


def written(rng: random.Random, text: str, dialect: Dialect) -> str:
    """A value as a field; where there are no quotes, what would need them is left out."""
    special = dialect.delim + dialect.quote + "\r\n"
    if not dialect.quote:
        return "".join(letter for letter in text if letter not in special)
    if not any(letter in text for letter in special) and rng.random() < 0.8:
        return text
    escape = dialect.escape or dialect.quote
    if escape != dialect.quote:
        text = text.replace(escape, escape * 2)
    return dialect.quote + text.replace(dialect.quote, escape + dialect.quote) + dialect.quote


def spoilt(rng: random.Random, content: bytes, start: int, edits: int) -> bytes:
    """Some bytes behind `start` replaced, removed or put in."""
    data = bytearray(content)
    for _ in range(edits):
        at = rng.randrange(start, len(data) + 1)
        kind = rng.randrange(3)
        if kind and at < len(data):
            del data[at]
        if kind < 2:
            data[at:at] = bytes([rng.choice(b'"",,;\'\n\r\\x \xff{}:')])
    return bytes(data)


def csv_case(rng: random.Random, rows: int) -> Case:
    """A CSV file."""
    columns = random_columns(rng, rng.randrange(1, 5))
    names = [*columns, *(f"x{n}" for n in range(rng.randrange(3)))]
    rng.shuffle(names)
    dialect = rng.choice(
        (Dialect(), Dialect(), Dialect(";", "'"), Dialect("\t", ""), Dialect("|", '"', "\\"))
    )
    ends = rng.choice((["\n"], ["\n"], ["\r\n"], ["\r"], ["\n", "\r\n"], ["\n", "\r\n", "\r"]))
    header = dialect.delim.join(names) + rng.choice(ends)
    lines = []
    for _ in range(rows):
        values = [text_for(rng, columns.get(name, KINDS["VARCHAR"])) for name in names]
        lines.append(dialect.delim.join(written(rng, value, dialect) for value in values) + rng.choice(ends))
    content = (header + "".join(lines)).encode()
    content = spoilt(rng, content, len(header.encode()), rng.choice((0, 0, 1, 3, rows // 3)))
    if rng.random() < 0.2:
        content = b"\xef\xbb\xbf" + content.rstrip(b"\r\n")
    options = {"delim": dialect.delim, "quote": dialect.quote, "escape": dialect.escape}
    return Case(content, flow_of(columns, {"csv": options}), columns, csv_verdict(content, dialect, columns))


def flow_of(columns: dict[str, dict[str, Any]], source: dict[str, Any]) -> dict[str, Any]:
    return {"columns": columns, "source": source}


def ndjson_case(rng: random.Random, rows: int) -> Case:
    """An NDJSON file."""
    columns = random_columns(rng, rng.randrange(1, 5))
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    lines = []
    for _ in range(rows):
        names = [name for name in (*columns, "more") if rng.random() < 0.95]
        if rng.random() < 0.1:
            rng.shuffle(names)
        members = [f"{json.dumps(name)}: {_json_value(rng, columns.get(name))}" for name in names]
        lines.append("{" + ", ".join(members) + rng.choice(("}",) * 9 + (",}",)) + end)
    for n in range(len(lines)):
        if rng.random() < 0.1:
            lines[n] = rng.choice(NO_ROWS) + end
    if rng.random() < 0.3:  # what is usual is seen in the first line
        lines.insert(0, rng.choice(NO_ROWS) + end)
    content = spoilt(rng, "".join(lines).encode(), 0, rng.choice((0, 0, 1, 3, rows // 3)))
    return Case(content, flow_of(columns, {"format": "ndjson"}), columns, ndjson_verdict(content, columns))


def _json_value(rng: random.Random, column: dict[str, Any] | None) -> str:
    if column is None:
        return rng.choice(("[1, 2.5]", '{"a": [null, 12345678901234567.89]}', "NaN", '"x"', "[", "1e5"))
    if rng.random() < 0.1:
        return rng.choice(("null", "true", "false"))
    if column["sql_type"].startswith((*INTEGERS, "DECIMAL", "DOUBLE")) and rng.random() < 0.7:
        digits = str(rng.randrange(-(10**18), 10**19))
        fraction = rng.choice(("", ".5", ".50", ".05", f".{rng.randrange(10**9)}", "e2", "E-1"))
        return rng.choice((str(rng.randrange(-60, 110)), digits)) + fraction
    return json.dumps(text_for(rng, column), ensure_ascii=rng.random() < 0.5)
