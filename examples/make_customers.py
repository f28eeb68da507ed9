"""Write data/customers.csv: a customer list as real exports look, the same bytes on every machine.

    python examples/make_customers.py [FILE] [ROWS]

Most rows are good once they are trimmed and normalised. The others have the faults of real exports: bad or
missing e-mail addresses, invalid dates, missing and repeated ids, countries that are not served, text
where a balance should be, and lines with too few or too many fields.
"""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

SEED = 20_240_229
ROWS = 3_000
TARGET = Path(__file__).parent / "data" / "customers.csv"
HEADER = ("Customer ID", "Name", "Email", "Signup", "Country", "Balance")

FIRST = ("Anna", "Bruno", "Chloé", "David", "Elif", "Felipe", "Grace", "Henrique", "Inès", "Jürgen", "Kate")
LAST = ("Almeida", "Brown", "Córdoba", "Dubois", "Evans", "Fischer", "Garnier", "Ito", "O'Neill", "Schäfer")
PLAIN = str.maketrans({"é": "e", "è": "e", "ü": "u", "ó": "o", "ä": "a", "'": None})
DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SPELLINGS = (
    ("US", "USA", "United States", "U.S.", " us "),
    ("DE", "Germany", "GERMANY", "Deutschland", "de"),
    ("FR", "France", "fr", "FRANCE "),
    ("GB", "UK", "United Kingdom", "Great Britain", "gb"),
    ("BR", "Brazil", "Brasil", "br"),
)

Row = dict[str, str]
T = TypeVar("T")


def pick(rng: Random, options: Sequence[T]) -> T:
    # Only Random.random() is promised to give the same numbers on every version of Python.
    return options[int(rng.random() * len(options))]


def good_row(rng: Random, number: int) -> Row:
    first, last = pick(rng, FIRST), pick(rng, LAST)
    return {
        "Customer ID": str(10_000 + number),
        "Name": f'{first} "{first[:3]}" {last}' if rng.random() < 0.01 else f"{first} {last}",
        "Email": email(rng, f"{first}.{last}{number}".translate(PLAIN)),
        "Signup": signup(rng),
        "Country": pick(rng, pick(rng, SPELLINGS)),
        "Balance": balance(rng),
    }


def email(rng: Random, person: str) -> str:
    address = f"{person}@{pick(rng, DOMAINS)}"
    return pick(rng, (address.lower(), address.lower(), address, address.upper(), f" {address} "))


def signup(rng: Random) -> str:
    year, month, day = 2015 + int(rng.random() * 10), 1 + int(rng.random() * 12), 1 + int(rng.random() * 28)
    iso, slashed = f"{year}-{month:02}-{day:02}", f"{day:02}/{month:02}/{year}"
    return pick(rng, (iso, iso, slashed, f"{MONTHS[month - 1]} {day:02}, {year}", ""))


def balance(rng: Random) -> str:
    draw = rng.random()
    amount = int(draw * draw * draw * 2_500_000) / 100
    return pick(rng, (f"{amount:,.2f}", f"{amount:,.2f}", f"{amount:.2f}", f"{amount:.0f}", ""))


def one_of(column: str, *values: str) -> Callable[[Row, Random], None]:
    def spoil(row: Row, rng: Random) -> None:
        row[column] = pick(rng, values)

    return spoil


def earlier_id(row: Row, rng: Random) -> None:
    row["Customer ID"] = str(10_001 + int(rng.random() * (int(row["Customer ID"]) - 10_000)))


# How often (of 1,000 rows), and what it does. A row may meet several.
FAULTS: tuple[tuple[int, Callable[[Row, Random], None]], ...] = (
    (12, earlier_id),
    (4, one_of("Customer ID", "")),
    (4, one_of("Customer ID", "C-10423", "unknown", "10423A")),
    (8, one_of("Email", "", " ")),
    (15, one_of("Email", "anna.example.com", "kate@", "@example.org", "bruno@@example.com", "see notes")),
    (12, one_of("Signup", "2021-02-30", "31/31/2020", "00/00/0000", "2019-13-01", "last spring")),
    (2, one_of("Signup", "2199-12-31", "31/12/2199")),
    (10, one_of("Country", "NL", "Atlantis", "EU", "??")),
    (8, one_of("Balance", "n/a", "12O.50", "EUR 120.00", "#REF!")),
    (5, one_of("Balance", "-12.00", "-1,050.00", "-0.01")),
)


def lines(rng: Random, rows: int) -> Iterator[str]:
    yield as_line(HEADER)
    line = ""
    for number in range(1, rows + 1):
        if line and rng.random() < 0.006:
            yield line  # the same line once more
            continue
        row = good_row(rng, number)
        for per_mille, spoil in FAULTS:
            if rng.random() * 1_000 < per_mille:
                spoil(row, rng)
        line = as_line(list(row.values()))
        broken = rng.random()
        if broken < 0.005:
            yield as_line(list(row.values())[: 2 + int(rng.random() * 3)])  # cut off
        elif broken < 0.009:
            yield as_line([*row.values(), "", "old system"])  # columns that the header doesn't have
        else:
            yield line


def as_line(fields: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(fields)
    return out.getvalue()


def build(rows: int = ROWS) -> bytes:
    """The whole file; a longer one begins with the same lines."""
    return "".join(lines(Random(SEED), rows)).encode()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else ROWS
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(build(rows))
    print(f"{target}: {rows} rows")
