"""Whatever else is in a file, and however its header is written, the layout that reads it is found, and no other."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from depth import examples
from duckdb import DuckDBPyConnection
from hypothesis import example, given
from hypothesis import strategies as st
from local.senders import definition

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.sources.formats.names import visible_columns
from lume_local._worker.sources.formats.text.csv import header_of
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.layouts import recognised
from lume_local._worker.sources.source import File, SourceError, no_pause
from lume_local._worker.statements import form_of

DELIMS, ENCODINGS = (",", ";", "\t", "|"), ("utf-8", "cp1252", "utf-16", "latin-1")
LAYOUTS: dict[str, dict[str, Any]] = {
    f"l{n}": {
        "source": {
            "csv": {"delim": DELIMS[n % 4], "encoding": ENCODINGS[n // 4 % 4]},
            **(
                {"header": "find"}
                if n % 3 == 1
                else {"header": {"contains": [f"größe {n}"]}}
                if n % 3
                else {}
            ),
        },
        "columns": {
            "order_id": {"from": [f"order-{n}", f"no {n}"]},
            "amount": f'"total{n}"',
            # Some layouts read a column that others have, too.
            "note": {"from": [f"größe {n}"]},
        },
    }
    for n in range(16)
}
NAMES = [[f"order-{n}", f"total{n}", f"größe {n}"] for n in range(16)]


@frozen
class Setting:
    connection: DuckDBPyConnection
    flow: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module", name="setting")
def fixture_setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with connect() as connection:
        flow = compile_flow(connection, read_definition(definition(LAYOUTS)))
        yield Setting(connection, flow, tmp_path_factory.mktemp("files"))


def of(setting: Setting, content: bytes) -> str:
    path = setting.folder / "file.csv"
    path.write_bytes(content)
    file = File(path, "file.csv", "", len(content))
    (found,) = recognised(setting.connection, [file], setting.flow, setting.folder, no_pause)
    return found.layout


def lines(delim: str, rows: list[list[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delim, lineterminator="\n").writerows(rows)
    return out.getvalue()


WORDS = st.text(
    st.characters(codec="latin-1", exclude_categories=("Cc",), exclude_characters='"_'), max_size=8
)


@given(
    data=st.data(),
    n=st.integers(0, 15),
    more=st.lists(WORDS, max_size=4),
    above=st.lists(st.lists(WORDS, min_size=1, max_size=3), max_size=3),
)
@examples(150)
def test_it_is_the_one_that_reads_the_names(
    setting: Setting, data: st.DataObject, n: int, more: list[str], above: list[list[str]]
) -> None:
    order, total, note = NAMES[n]
    spelled = [data.draw(st.sampled_from([order, f"NO {n}", f"no-{n}"])), total.upper(), note.upper()]
    header = data.draw(st.permutations([*spelled, *(f"x {one}" for one in more)]))
    source = LAYOUTS[f"l{n}"]["source"]
    has_search = "header" in source
    rows = [*(above if has_search else []), header, [str(k) for k in range(len(header))]]
    content = lines(source["csv"]["delim"], rows).encode(source["csv"]["encoding"])
    assert of(setting, content) == f"l{n}"


@given(
    header=st.lists(
        st.sampled_from([*NAMES[0], *NAMES[4], *NAMES[8], "no 0", "x", ""]), min_size=1, max_size=8
    ),
)
@example(header=[*NAMES[0], "x"])
@examples(150)
def test_what_is_recognised_can_be_read(setting: Setting, header: list[str]) -> None:
    """As the reader finds the header, and its columns in it."""
    content = lines(",", [header, ["1"] * len(header)]).encode()
    try:
        layout = of(setting, content)
    except SourceError:
        return
    form = form_of(setting.flow, layout)
    found = header_of(setting.folder / "file.csv", Dialect.of(form["csv"]), form, "file.csv")
    assert set(visible_columns(form, found.names, "file.csv")) == set(form["sources"])
