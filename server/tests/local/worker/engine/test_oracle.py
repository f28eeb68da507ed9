"""Random files, and polluted ones: the engine and plain Python agree on every row, and the account closes."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.oracles.compare import check, check_files
from local.oracles.plain_csv import Dialect
from local.oracles.pollution import polluted_case, polluted_files
from local.oracles.random_files import Case, csv_case, ndjson_case
from local.oracles.random_tables import compressed_case, excel_case, json_case, many_case, parquet_case

from lume_local._worker.sources.formats.text import scan, skeleton

Folders = pytest.TempPathFactory
SEEDS, ROWS = st.integers(0, 2**32), st.integers(1, 25)
FILES = polluted_files(random.Random(7), 12)


@pytest.mark.parametrize(("name", "content", "dialect"), FILES, ids=[name for name, *_ in FILES])
def test_polluted(tmp_path: Path, name: str, content: bytes, dialect: Dialect) -> None:
    check(tmp_path, polluted_case(content, dialect))


@examples(50)
@given(SEEDS, ROWS)
def test_csv(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows))


@examples(30)
@given(SEEDS, ROWS, st.integers(1, 60), st.integers(1, 60))
def test_csv_in_small_blocks(tmp_path_factory: Folders, seed: int, rows: int, block: int, piece: int) -> None:
    """Wherever a block ends that is read, and a piece of it that is counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_BLOCK", block)
        patch.setattr(skeleton, "_PIECE", piece)
        check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows))


@examples(30)
@given(SEEDS, ROWS)
def test_ndjson(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("ndjson"), ndjson_case(random.Random(seed), rows))


@pytest.mark.parametrize("case", [compressed_case, json_case, excel_case])
@examples(10)
@given(SEEDS, ROWS)
def test_other_formats(tmp_path_factory: Folders, case: Callable[..., Case], seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("file"), case(random.Random(seed), rows))


@examples(10)
@given(SEEDS, ROWS)
def test_parquet(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    check(folder / "run", parquet_case(random.Random(seed), rows, folder))


@examples(10)
@given(SEEDS, ROWS)
def test_many_files(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    files, case = many_case(random.Random(seed), rows)
    check_files(tmp_path_factory.mktemp("many"), files, case)
