"""Header cells without a name of their own, in CSV and in Excel."""

import io
from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute

from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.names import readable


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["", "a"], ["column_1", "a"]),
        (["a", "", ""], ["a", "column_2", "column_3"]),
        (["a", "b", "a"], ["a_1", "b", "a_2"]),
        (["a", "A"], ["a", "A"]),
        (["", "column_1"], ["column_1_", "column_1"]),
        (["a", "a", "a_2"], ["a_1", "a_2_", "a_2"]),
        (["column_2", "", "a_1", "a", "a"], ["column_2", "column_2_", "a_1", "a_1_", "a_2"]),
    ],
)
def test_every_cell_has_a_name_of_its_own(header: list[str], names: list[str]) -> None:
    assert readable(header) == names
    assert len(set(names)) == len(names)
    assert readable(names) == names  # as those of a rejects file that is submitted again


def as_csv(*rows: list[str]) -> bytes:
    return "".join(",".join(row) + "\n" for row in rows).encode()


def as_excel(*rows: list[str]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append([value or None for value in row])
    book.save(file)
    return file.getvalue()


FORMATS = pytest.mark.parametrize(("format", "made"), [("csv", as_csv), ("excel", as_excel)])


@FORMATS
def test_a_repeated_name_is_not_read_by_chance(tmp_path: Path, format: str, made: Any) -> None:
    content = made(["id", "amount", "amount"], ["1", "2", "3"])
    with pytest.raises(RunFailed) as failed:
        execute(tmp_path, content, columns={"amount": {}}, source={"format": format})
    assert "names 'amount' 2 times, so that they are called 'amount_1' and 'amount_2'" in str(failed.value)
    assert "rename one, or read one of these (in a new flow version" in str(failed.value)
