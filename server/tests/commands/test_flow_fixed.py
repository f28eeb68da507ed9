"""`lume flow init` on texts of fixed width: where columns begin, what names them, and the run of what it wrote."""

import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from depth import seeds
from local.one_run import execute

from lume_cli._app import app
from lume_local._samples.fixed_width import FixedColumns, fixed_columns

NAMES = ("Ann Lee", "Dörte Groß", "Cem", "Bartholomäus Müller-Lüdenscheid", "Bob O'Hara", "Zoë")
PLACES = ("Bonn, 12", "Bad Oeynhausen, 3", "Köln, 111", "Frankfurt am Main, 60", "Ulm, 7")


def values_of(rng: random.Random, kind: str, number: int) -> list[str]:
    made = {
        "id": lambda n: str(n + 1),
        "code": lambda n: f"{rng.randrange(10**6):06}",
        "amount": lambda n: f"{rng.lognormvariate(4, 2):.2f}",
        "betrag": lambda n: f"{rng.lognormvariate(4, 2):.2f}".replace(".", ","),
        "day": lambda n: f"2024-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
        "name": lambda n: rng.choice(NAMES),
        "place": lambda n: rng.choice(PLACES),
        "flag": lambda n: rng.choice("YN"),
    }[kind]
    return [made(n) for n in range(number)]


HEADS = {
    "id": ("No", "Order No"),
    "code": ("SKU", "Item Code"),
    "amount": ("Amount", "Unit Price"),
    "betrag": ("Betrag", "Preis EUR"),
    "day": ("Day", "Order Date"),
    "name": ("Kunde", "Customer Name"),
    "place": ("Anschrift",),
    "flag": ("Active",),
}


def written(rng: random.Random) -> tuple[str, list[str], list[tuple[str, ...]]]:
    """Return a text, the names in its header, and its rows."""
    kinds = ["id", *rng.sample([kind for kind in HEADS if kind != "id"], rng.randint(1, 6))]
    rng.shuffle(kinds)
    number, gap = rng.choice((19, 20, 21, 50, 199, 201, 1500)), " " * rng.choice((1, 1, 2, 3))
    has_header, is_right, heads_left = (rng.random() < share for share in (0.75, 0.6, 0.5))
    names, columns, heads = list[str](), list[list[str]](), list[str]()
    for kind in kinds:
        values = values_of(rng, kind, number)
        name = rng.choice(HEADS[kind]) if has_header else ""
        width = max(map(len, [*values, name])) + rng.choice((0, 0, 8))
        right = is_right and kind in ("id", "amount", "betrag")
        columns.append([value.rjust(width) if right else value.ljust(width) for value in values])
        heads.append(name.rjust(width) if right and not heads_left else name.ljust(width))
        names.append(name)
    lines = [gap.join(row) for row in zip(*columns, strict=True)]
    if has_header:
        rules = ["", "-" * len(lines[0]), gap.join("-" * len(head) for head in heads)]
        rules.append(rules[2].replace("-", "="))
        lines = list(filter(None, [gap.join(heads), rng.choice(rules)])) + lines
        lines = ["Orders of 2024, as of today", ""] * (rng.random() < 0.3) + lines
    if rng.random() < 0.4:
        lines = [line.rstrip() for line in lines]
    rows = [tuple(value.strip() for value in row) for row in zip(*columns, strict=True)]
    return rng.choice(("\n", "\r\n")).join([*lines, ""]), names if has_header else [], rows


def found_in(text: str) -> FixedColumns:
    found = fixed_columns(text.splitlines(keepends=True))
    assert found is not None, text[:1000]
    return found


@seeds(150)
def test_every_value_is_cut_where_it_is(seed: int) -> None:
    text, names, rows = written(random.Random(seed))
    found = found_in(text)
    assert [*found.spans] == names or [f"column_{n}" for n in range(1, len(rows[0]) + 1)]
    assert ("header" in found.table) is bool(names)
    cut = [
        tuple(line[first - 1 : last].strip() for first, last in found.spans.values())
        for line in text.splitlines()[-len(rows) :]
    ]
    assert cut == rows


@seeds(20)
def test_a_run_of_what_was_written_maps_all_rows(tmp_path: Path, seed: int) -> None:
    text, _, rows = written(random.Random(seed))
    encoding = ("cp1252", "utf-8")[seed % 2]
    # A few letters beyond ASCII may not tell the encoding; then it has to be named.
    named = () if encoding == "utf-8" else ("--encoding", encoding)
    made, said = made_of(tmp_path / "orders.txt", text.encode(encoding), *named)
    assert made["source"]["format"] == "fixed"
    assert "read as columns of fixed width" in said
    result = execute(tmp_path / "run", text.encode(encoding), source=made["source"], columns=made["columns"])
    assert (len(result.mapped), result.rejects) == (len(rows), [])
    assert len(made["columns"]) == len(rows[0])
    places = [row for row in zip(*result.mapped, strict=True) if PLACES[0] in row]
    assert places in (
        [],
        [tuple(row[n] for row in rows) for n in range(len(rows[0])) if rows[0][n] in PLACES],
    )


def made_of(path: Path, content: bytes, *options: str) -> tuple[dict[str, Any], str]:
    """The flow that is proposed, and what is said."""
    path.write_bytes(content)
    result = CliRunner().invoke(app, ["flow", "init", str(path), *options])
    assert result.exit_code == 0, result.stderr
    return tomllib.loads(result.stdout), " ".join(result.stderr.split())


FIXED = """\
No    Name             Amount Day
    1 Ann Lee           12.50 2024-01-31
   22 Bo                 7.00 2024-02-01
  333 Cy Dee Eff      1000.00 2024-02-02
"""


@pytest.mark.parametrize(("has_header", "trimmed"), [(True, True), (False, True), (True, False)])
def test_columns_of_fixed_width(tmp_path: Path, has_header: bool, trimmed: bool) -> None:
    lines = FIXED.splitlines()[0 if has_header else 1 :]
    lines = [*lines, "    4 Di                 7.00           "]
    lines = [line.rstrip() for line in lines] if trimmed else [line.ljust(40) for line in lines]
    made, said = made_of(tmp_path / "a.txt", "\n".join([*lines, ""]).encode())
    names = ["No", "Name", "Amount", "Day"] if has_header else [f"column_{n}" for n in range(1, 5)]
    assert list(made["source"]["fixed"]["columns"]) == names
    assert made["source"]["fixed"].get("trimmed", False) is trimmed
    assert [column.get("type", column.get("format")) for column in made["columns"].values()] == [
        *("integer", "string", "number", "date")
    ]
    assert "read as columns of fixed width" in said


@pytest.mark.parametrize(
    ("text", "columns"),
    [  # a name of several words, above one column, and a name beside a right-aligned value
        ("Order No  Unit Price\n       1       12.50\n      22        7.00\n", {"Order No": 8, "Unit Price": 20}),
        ("id          name\n" + "          1 Ann\n         22 Bo\n" * 4, {"id": 12, "name": 16}),
        ("No Size       Kind\n 1         12 a\n 2          7 b\n", {"No": 2, "Size": 14, "Kind": 18}),
        # values that touch: they are cut between the names
        ("Code    Amount\n000001   12.50\n00002  1237.00\n0003  21237.00\n", {"Code": 6, "Amount": 14}),
        # no name above the numbers of the rows
        ("    name amount\n0  Ann x   1.50\n1  Cem y   2.50\n", {"column_1": 3, "name": 8, "amount": 15}),
        # a header that is not above its columns
        ("No  Name  Day\n000001    Ann Lee                 2024-01-01\n000002    Bob Ray                 2024-01-02\n"
         "000003    Li                      2024-01-03\n", {"No": 10, "Name": 34, "Day": 44}),
        # a column without values
        ("No  Note  Name\n1         Ann\n2         Bob\n", {"No": 4, "Note": 10, "Name": 14}),
        # only texts: names are not among the categories
        ("Name  City\n" + "Ann   Bonn\nBob   Ulm \nCem   Bonn\n" * 4, {"Name": 6, "City": 10}),
        ("Bonn  Ann \n" + "Ulm   Bob \nBonn  Cem \n" * 6, {"column_1": 6, "column_2": 9}),
        # a value of words that stand apart by chance
        ("1  Ann Lee  7\n2  Ann      8\n3  Bob Ray  9\n4  Li       7\n",
         {"column_1": 3, "column_2": 12, "column_3": 13}),
        # ids that grow only below the first lines
        ("   No Name\n" + "".join(f"{n:5} Ann\n" for n in range(1, 1200)), {"No": 6, "Name": 10}),
    ],
)  # fmt: skip
def test_where_columns_end(text: str, columns: dict[str, int]) -> None:
    assert {name: last for name, (_, last) in found_in(text).spans.items()} == columns


def test_a_value_that_runs_into_the_next_column_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [
        "1    Ann            5",
        "2    Bob           10",
        "3    Christophert  20",
        "4    Dora          12",
    ]
    text = "\n".join(["Names", "", "ID   NAME      AMOUNT", *rows, "5    Maximiliane Mueller 7", *rows, ""])
    made, said = made_of(tmp_path / "a.txt", text.encode())
    assert made["source"]["fixed"]["columns"]["AMOUNT"][0] == 16
    assert (
        "line 6: 'Christophert' runs from 'NAME' into 'AMOUNT', which begins at character 16: correct" in said
    )
    assert found_in("\n".join(["ID   NAME      AMOUNT", *rows[:2], *rows[3:]])).crossed == []
    spaced = found_in(text.replace("Maximiliane Mueller", "Maximilian\xa0Mueller"))
    assert [said.partition(":")[0] for said in spaced.crossed] == ["line 6"]


def test_rules_are_comments_and_a_count_of_rows_is_a_footer(tmp_path: Path) -> None:
    table = "No   Name  Amount\n---- ----- ------\n   1 Ann     2.50\n   2 Bo      3.00\n"
    text = f"{table}   3 Cem     1.00\n---- ----- ------\n\n(3 rows affected)\n"
    made, said = made_of(tmp_path / "a.txt", text.encode())
    assert (made["source"]["comment"], made["source"]["footer"]) == ("---- -----", {"rows": 1})
    assert made["source"]["header"] == {"contains": ["No", "Name", "Amount"]}
    assert "a count of the rows at the end is skipped as a footer" in said
    result = execute(tmp_path / "run", text, source=made["source"], columns=made["columns"])
    assert [row[:2] for row in result.mapped] == [(1, "Ann"), (2, "Bo"), (3, "Cem")]
    assert (result.rejects, result.metrics["source"]["skipped"]["footer"]) == ([], 1)
    # Of several rules the one below the header counts.
    titled, _ = made_of(tmp_path / "c.txt", f"Orders\n======\n\n{text}".encode())
    assert titled["source"] == made["source"]
    # That a total is no record can't be known.
    path = tmp_path / "b.txt"
    made, said = made_of(path, f"{table}Total        5.50\n".encode())
    assert "footer" not in made["source"]
    assert "the last lines begin with 'Total': if they are no records, they are its footer" in said


@pytest.mark.parametrize(
    "text",
    [
        "one\ntwo\nthree\n",
        "a text of several\nlines that have\nblanks here and there\n",
        "a\tb\n1\t2\n3\t4\n",
        "x y\n",
        "when\n" + "2024-01-01 10:00\n2024-01-02 09:30\n" * 10,
        "No   , Name\n" + "1    , Ann \n22   , Bob \n" * 6,
    ],
)
def test_other_texts_have_no_fixed_width(text: str) -> None:
    assert fixed_columns(text.splitlines(keepends=True)) is None


@pytest.mark.parametrize(
    "text",
    ["a, b, c\n1, x, 2024-01-01\n2, y, 2024-01-02\n", "a,b\n1  ,x  \n22 ,yy \n", "1,5\n2,7\n3,4\n4,4\n"],
)
def test_commas_between_values_are_delimiters(tmp_path: Path, text: str) -> None:
    made, _ = made_of(tmp_path / "a.csv", text.encode())
    assert made["source"]["csv"]["delim"] == ","


def test_what_few_lines_have_behind_the_last_column_is_not_read(tmp_path: Path) -> None:
    """Nor is a line that is too short read without saying so."""
    lines = [f"{n:06d}{'Ann' if n % 2 else 'Bernd':<12}{n * 7:8d}EUR" for n in range(1, 61)]
    lines[20] += "XX"
    made, said = made_of(tmp_path / "a.txt", "\n".join([*lines, ""]).encode())
    *_, (_, end) = made["source"]["fixed"]["columns"].values()
    assert (end, "trimmed" in made["source"]["fixed"]) == (29, False)
    assert "a run rejects 1 line of the sample (longer than 29 characters: 1): see line 21" in said
    lines[40] = lines[40][:20]
    made, said = made_of(tmp_path / "b.txt", "\n".join([*lines, ""]).encode())
    assert made["source"]["fixed"]["trimmed"] is True
    assert "1 line is shorter than nearly all others: read as if only blanks at the end were missing" in said
