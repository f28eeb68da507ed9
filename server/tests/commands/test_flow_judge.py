"""`lume flow init` is judged by its own sample: what it writes rejects no row of that, if no line is malformed."""

import csv
import json
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lume_cli._app import app
from lume_local import open_sample
from lume_local._samples.infer import SampleColumn
from lume_local._worker.samples import read as sample_read


def init(sample: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["flow", "init", str(sample), *options])


def clean(folder: Path, sample: Path) -> dict[str, Any]:
    """The flow that `init` writes; tried on its own sample it rejects no row."""
    made = init(sample)
    assert made.exit_code == 0, made.stderr
    (folder / "flow.toml").write_text(made.stdout, encoding="utf-8")
    tried = CliRunner().invoke(app, ["flow", "try", str(folder / "flow.toml"), str(sample), "-o", "json"])
    assert json.loads(tried.stdout)["reject_reasons"] == {}
    return tomllib.loads(made.stdout)


def test_a_type_that_few_rows_do_not_fit_is_used_if_that_is_tolerated(tmp_path: Path) -> None:
    sample, flow = tmp_path / "a.csv", tmp_path / "flow.toml"
    rows = [
        f"{n},{('abc', 'x1', '??')[n % 3] if n % 100 == 5 else n},{n % 4 or 'none'}" for n in range(1, 1001)
    ]
    sample.write_text("id,few,many\n" + "\n".join(rows) + "\n")
    strict = init(sample)
    assert tomllib.loads(strict.stdout)["columns"]["few"]["type"] == "string"
    assert init(sample, "--tolerate", "0.9%").stdout == strict.stdout
    made = init(sample, "--tolerate", "1%")
    said = "'few' is read as integer: a run rejects 10 of 1,000 rows (1 %), such as "
    assert f"{said}'??', 'abc', 'x1'" in made.stderr
    assert f"# {said}" in made.stdout
    assert "read as text" not in made.stderr
    columns = tomllib.loads(made.stdout)["columns"]
    assert (columns["few"]["type"], columns["few"]["required"]) == ("integer", True)
    flow.write_text(made.stdout)
    tried = CliRunner().invoke(app, ["flow", "try", str(flow), str(sample), "-o", "json"])
    assert json.loads(tried.stdout)["reject_reasons"] == {"few: is not a valid integer": 10}
    for wrong in ("2", "-1%", "6%", "nan%", "1,5%"):
        refused = init(sample, "--tolerate", wrong)
        assert (refused.exit_code, "a percentage such as 2%, at most 5%" in refused.stderr) == (2, True)


KINDS = {
    "integer": ["1", "20", "300"],
    "too large": ["1", "99999999999999999999", "2"],
    "number": ["1.5", "-2", "1e5"],
    "money": ["$1,200.50", "12", "€ 3.5"],
    "money of four digits": ["$1,200.5000", "$0.0025", "$1.25"],
    "date": ["2024-01-31", "2024-02-01", "2023-12-31"],
    "dates": ["31/12/2024", "1 March 2024", "2024-03-02"],
    "times": ["2024-01-31 10:00:00", "2024-01-31T11:30:00.123", "2024-02-01 00:00:00"],
    "times in hours": ["2024-01-31 10:00", "2024-01-31 11:30", "2024-02-01 00:00"],
    "zoned": ["2024-01-31T10:00:00Z", "2024-01-31T10:00:00+02:00", "2024-02-01T10:00:00Z"],
    "booleans": ["yes", "no", "Y"],
    "percent": ["5 %", "12,5%", "3.25 %"],
    "emails": ["a@example.org", "Bob <bob@example.org>", "c@example.org"],
    "countries": ["Germany", "FR", "Italia"],
    "phones": ["+49 30 123456", "+1 650 253 0000", "+33 1 42 68 53 00"],
    "codes": ["00123", "01234", "10115"],
    "texts": ["Ann", "Bo", "Cy"],
}
BAD = [
    "2024-02-30",
    "1.234,5,6",
    "a@b",
    "Atlantis",
    "+12",
    "1,234",
    "24:00",
    "nan",
    "1e999",
    "12.34567 $",
    "-",
    "x",
]


def written(path: Path, columns: dict[str, list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    return path


@pytest.mark.thorough
def test_no_guess_rejects_a_row_of_its_sample(tmp_path: Path) -> None:
    """Columns of one kind, each with one value that may be anything: also where the form of a value promises more."""
    pairs = [(kind, bad) for kind in KINDS for bad in ("", *BAD)]
    columns = {f"{kind} {n}": [*KINDS[kind] * 10, bad] for n, (kind, bad) in enumerate(pairs)}
    flow = clean(tmp_path, written(tmp_path / "a.csv", columns))
    required = [column.get("required", False) for column in flow["columns"].values()]
    nulls = ["nullif" in column.get("sql", "") for column in flow["columns"].values()]
    assert required == [bad != "" and not is_null for (_, bad), is_null in zip(pairs, nulls, strict=True)]


@pytest.mark.thorough
def test_what_holds_is_kept(tmp_path: Path) -> None:
    """Else the test above would be content with texts."""
    kinds = {name: values * 4 for name, values in KINDS.items() if name not in ("codes", "texts", "phones")}
    flow = clean(tmp_path, written(tmp_path / "a.csv", kinds))
    texts = [name for name, column in zip(kinds, flow["columns"].values(), strict=True) if is_text(column)]
    assert texts == ["countries"]  # by its name, it is not one of countries


def is_text(column: dict[str, Any]) -> bool:
    return "format" not in column and column["type"] == "string"


def test_words_for_nothing_are_proposed(tmp_path: Path) -> None:
    words = ["NA", "N/A", "NULL", "null", "-", ".", "NaN", "?"]
    columns = {f"v_{n}": [*(str(k / 2) for k in range(1, 13)), word] for n, word in enumerate(words)}
    days = [f"2024-01-{n:02}" for n in range(1, 13)]
    columns |= {f"at_{n}": [*days, word] for n, word in enumerate(words)}
    flow = clean(tmp_path, written(tmp_path / "a.csv", columns))
    assert "null" not in flow["source"]
    for n, word in enumerate(words):
        for name, kind in ((f"v_{n}", {"type": "number"}), (f"at_{n}", {"format": "date"})):
            assert flow["columns"][name] == {"sql": f"nullif(trim(\"{name}\"), '{word}')"} | kind


def test_in_a_column_of_texts_a_word_for_nothing_is_only_a_question(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("country,size\n" + "DE,S\nNA,N/A\nFR,M\n" * 5)
    made = init(sample).stdout
    assert "null" not in tomllib.loads(made)["source"]
    assert '# null = ["NA", "N/A"]' in made
    assert '# in "country", "size": if that is nothing' in made
    sample.write_text("country,size\n" + "DE,1\nNA,NA\nFR,3\n" * 5)
    found = init(sample)
    assert (
        "'NA' is read as NULL among the numbers, dates or the like of 'size': is that right?" in found.stderr
    )
    columns = tomllib.loads(found.stdout)["columns"]
    assert "NA" in columns["size"]["sql"]
    assert "NA" not in columns["country"].get("sql", ""), "the text is kept"


def test_quotes_that_are_escaped_by_a_backslash(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text('id,v\n1,"say \\"hi\\", then"\n2,"x"\n')
    flow = clean(tmp_path, sample)
    assert flow["source"]["csv"] == {"delim": ",", "encoding": "utf-8", "escape": "\\"}
    assert flow["columns"]["id"]["type"] == "integer"
    sample.write_text('id\tv\n1\t5" pipe\n2\t"x\n')
    assert clean(tmp_path, sample)["source"]["csv"]["quote"] == ""
    sample.write_text('id,v\n1,5" pipe\n2,"x, y"\n3,z\n')
    made = init(sample)
    assert "a run rejects 1 line of the sample (broken quotes: 1): see line 2" in made.stderr
    assert tomllib.loads(made.stdout)["source"]["csv"] == {"delim": ",", "encoding": "utf-8"}


def test_quotes_in_the_header(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text('id\t5" pipes\n1\t2\n')
    assert clean(tmp_path, sample)["source"]["csv"]["quote"] == ""
    sample.write_text('"id\n1\n')
    assert clean(tmp_path, sample)["columns"]["id"]["sql"] == '"""id"'


def test_of_too_many_columns_the_first_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_read, "_MOST_COLUMNS", 2)
    sample = tmp_path / "a.csv"
    sample.write_text("a,b,c\n1,2,3\n")
    assert list(clean(tmp_path, sample)["columns"]) == ["a", "b"]
    assert "it has 3 columns, and a flow may have 2: here the first ones are" in init(sample).stderr


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "569,30,malignant\n" + "1,2,3,4,0\n" * 9,
            "the header has 3 columns, but most rows have 5, and a run rejects",
        ),
        (
            'a,  b\n1,  "x"\n2,  "y"\n',
            "quotes must enclose a whole value, without spaces around them: correct the file",
        ),
        ("a;b;c\n1\n2\n3\n1;2;3\n", "the header has 3 columns, but most rows have 1"),
    ],
)
def test_no_flow_is_made_that_would_reject_most_lines(tmp_path: Path, text: str, advice: str) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text(text)
    refused = init(sample)
    words = " ".join(refused.stderr.split())
    assert (refused.exit_code, "which is most of it: " in words, advice in words) == (2, True, True), words


def test_cells_without_a_name_have_columns(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text(",v,v,\n1,2,x,\n2,3,y,\n")
    flow = clean(tmp_path, sample)
    assert {name: column.get("sql") for name, column in flow["columns"].items()} == {
        "column_1": None,
        "v_1": None,
        "v_2": None,
    }
    said = init(sample).stderr
    assert "1 cell of the header without a name: called column_1" in said
    assert "the header names 'v' 2 times: called v_1, v_2" in said


LONG = {
    "no blank": lambda n: "x" * n,
    "an address without an end": lambda n: "<" * (n // 2) + "x" * (n // 2),
    "many at signs": lambda n: "a@" * (n // 2),
    "digits": lambda n: "1" * n,
    "groups of digits": lambda n: "1" + ",234" * (n // 4),
    "letters and points": lambda n: "a" * (n // 2) + "." * (n // 2),
    "blanks": lambda n: "1" + " " * n + "1",
    "signs": lambda n: "-+ " * (n // 3),
}


@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("name", ["v", "phone", "country"])
def test_sixteen_times_the_length_of_a_value_takes_no_square_of_the_time(case: str, name: str) -> None:
    def seconds(length: int, times: int) -> float:
        value, taken = LONG[case](length), []
        for _ in range(times):
            begun = time.process_time()
            SampleColumn(name, [value] * 10)
            taken.append(time.process_time() - begun)
        return min(taken)

    small = max(0.002, seconds(1_000, 5))
    assert seconds(16_000, 3) / small < 64


def test_a_name_that_no_expression_can_hold_is_left_out(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_bytes(b"id,start\x0bdate\n1,2\n")
    assert list(clean(tmp_path, sample)["columns"]) == ["id"]
    assert "left out, as the name contains a control character: 'start\\x0bdate'" in init(sample).stderr


def test_a_column_may_be_called_error(tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text("a\n1\nx\n")
    with open_sample(path) as sample:
        sample.rows({"format": "csv"})
        found = sample.judge({}, {"error": ("a", {"sql": "a", "type": "integer"})})

    assert (found["error"].misfits, found["error"].examples) == (1, ["x"])
