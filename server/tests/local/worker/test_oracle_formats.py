"""The engine and plain Python agree on every row of the other formats, too, and the account closes."""

import random

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.compare import check, check_files
from local.random_tables import compressed_case, excel_case, json_case, many_case, parquet_case

Folders = pytest.TempPathFactory
some = given(st.integers(0, 2**32), st.integers(1, 20))


@examples(15)
@some
def test_compressed(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("packed"), compressed_case(random.Random(seed), rows))


@examples(15)
@some
def test_parquet(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    check(folder / "run", parquet_case(random.Random(seed), rows, folder))


@examples(15)
@some
def test_json(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("json"), json_case(random.Random(seed), rows))


@examples(15)
@some
def test_excel(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("excel"), excel_case(random.Random(seed), rows))


@examples(15)
@some
def test_many_files(tmp_path_factory: Folders, seed: int, rows: int) -> None:
    files, case = many_case(random.Random(seed), rows)
    check_files(tmp_path_factory.mktemp("many"), files, case)
