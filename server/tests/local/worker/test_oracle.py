"""Random files: the engine and plain Python agree on every row, and the account closes."""

import random

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.compare import check
from local.random_files import csv_case, ndjson_case


@examples(50)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_csv(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows))


@examples(30)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_ndjson(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("ndjson"), ndjson_case(random.Random(seed), rows))
