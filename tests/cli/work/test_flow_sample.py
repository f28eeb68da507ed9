"""`lume flow init` on files that aren't quite, or not at all, what they should be."""

import gzip
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lume_cli._app import app
from lume_cli._work.flow_infer import delimiter

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"


def init(sample: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["flow", "init", str(sample), *options])


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ragged", [["1", "2"], ["1", "2", "3", "4"], ["1"], ["1", "x, y; z", "3"]])
@pytest.mark.parametrize("at", [0, 10])
def test_a_ragged_row_changes_no_delimiter(mark: str, ragged: list[str], at: int) -> None:
    rows = [["1", "2", "3"]] * 15
    rows.insert(at, ragged)
    assert delimiter([mark.join(row) + "\n" for row in [["a", "b", "c"], *rows]]) == mark


def test_commas_in_values_and_in_a_name_are_no_delimiter() -> None:
    lines = ["Name, first;Price;City\n", "Ann;1,50;Bonn\n", "Bob, jr;2,00;Ulm\n", "Cem;3;Köln;x\n"]
    assert delimiter(lines) == ";"


def test_what_could_be_a_delimiter_is_asked_about_and_may_be_given(tmp_path: Path) -> None:
    sample = tmp_path / "people.csv"
    sample.write_text("a;b;c\n" + "1;2;3\n" * 3)
    wrong = init(sample, "--delim", ",")
    assert wrong.exit_code == 0, wrong.stderr
    assert (
        """warning: the header is one column, 'a;b;c': if its delimiter is ";", pass --delim"""
        in wrong.stderr
    )
    right = init(sample, "--delim", ";")
    assert right.stderr == ""
    assert list(tomllib.loads(right.stdout)["columns"]) == ["a", "b", "c"]
    sample.write_text("a\tb\n1\t2\n")
    assert tomllib.loads(init(sample, "--delim", "tab").stdout)["source"]["csv"]["delim"] == "\t"
    refused = init(sample, "--delim", "||")
    assert (refused.exit_code, "one ASCII character" in refused.stderr) == (2, True)


def test_a_stray_quote_is_not_taken_for_spaces(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text('a,b\n1,x\n2,"y\n3,z\n"\n')
    assert "trim" not in init(sample).stdout
    sample.write_text("a,b\n1, x\n2,y\n")
    assert "# some are padded with spaces" in init(sample).stdout


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (PDF, "a PDF document"),
        (gzip.compress(PDF, mtime=0), "a PDF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office document (such as .xls, .doc)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG image"),
        (b"<!DOCTYPE html>\n<p>sign in</p>\n", "an HTML page"),
        (b"SQLite format 3\x00" + bytes(20), "an SQLite database"),
    ],
)
def test_no_flow_is_made_of_a_file_that_is_no_table(tmp_path: Path, content: bytes, what: str) -> None:
    sample = tmp_path / "bill.pdf"
    sample.write_bytes(content)
    for options in ((), ("--encoding", "latin-1")):
        result = init(sample, *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"bill.pdf is {what}, not CSV" in " ".join(result.stderr.split())
