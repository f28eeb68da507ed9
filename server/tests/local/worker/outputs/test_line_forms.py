"""How malformed lines are read, in the record of a run, in which texts are short and have no control characters."""

import json

import pytest

from lume_async._base.elided import bounded
from lume_local._worker.sources.mending.line_forms import (
    LineForm,
    entry_of,
    form_cell,
    form_in_cell,
    form_of,
    recorded,
)

CSV = (",", '"', "")


def labels(*names: str) -> dict[str, str]:
    return {f"_lume_s{n}": name for n, name in enumerate(names)}


@pytest.mark.parametrize("name", ["Größe", 'a"b', '"', '"quoted"', "a\tb", "a\nb", "\x1f", "\u202e", '"a'])
@pytest.mark.parametrize("csv", [CSV, ("\t", "", ""), ("\x1f", "'", "\\"), None])
def test_what_is_recorded_is_read(name: str, csv: tuple[str, str, str] | None) -> None:
    form = LineForm((1, 0), csv, "cp1252")
    record = json.loads(json.dumps(bounded(recorded([(name, form), ("other", None)], labels(name, "id")))))
    entry = entry_of(record, name)
    assert entry is not None
    assert form_of(entry, [name, "id"]) == form
    assert form_of(entry, ["id", name]) == LineForm((0, 1), csv, "cp1252"), "as the columns are now"
    assert form_in_cell(form_cell(entry), [name, "id"]) == form
    assert form_of(entry, ["id", "something else"]) is None
    assert entry_of(record, "other") is None


def test_a_name_that_is_too_long_is_not_taken_for_another() -> None:
    names = ["n" * 900 + "1", "n" * 900 + "2"]
    record = bounded(recorded([("", LineForm((1, 0), CSV, "utf-8"))], labels(*names)))
    entry = entry_of(record, "")
    assert entry is not None
    assert form_of(entry, names) is None


def test_files_that_have_one_form() -> None:
    one, other = LineForm((0, 1), CSV, "utf-8"), LineForm((1, 0), CSV, "utf-8")
    record = recorded([("a", one), ("b", one)], labels("x", "y"))
    assert [entry["files"] for entry in record] == [["a", "b"]]
    assert entry_of(record, "of nobody") == record[0], "there is no other"
    record = recorded([("a", one), ("b", other), ("c", one), ("c", other)], labels("x", "y"))
    assert [entry_of(record, file) for file in "abc"] == [record[0], record[1], None]
    assert entry_of(record, "of nobody") is None
    assert entry_of([], "") is None


def test_a_name_in_rejects_without_quotes_has_no_delimiter() -> None:
    forms = [(f"{n};1.csv", LineForm(at, (";", "", ""), "utf-8")) for n, at in enumerate(((0, 1), (1, 0)))]
    record = recorded(forms, labels("x", "y"))
    assert [entry_of(record, f"{n} 1.csv") for n in (0, 1)] == record


@pytest.mark.parametrize("cell", ["", "zz", "null", "7b7d", "{}", "[1]", '{"header": [1]}', '"a"'])
def test_a_cell_that_no_server_wrote(cell: str) -> None:
    assert form_in_cell(cell, ["a"]) is None
