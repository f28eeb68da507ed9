"""Random files: the engine and plain Python agree on every row, and the account closes."""

import random

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.compare import check
from local.random_files import csv_case, ndjson_case

from lume_local._worker.sources.formats.text import scan, skeleton


@examples(50)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_csv(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows))


@examples(30)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 60), st.integers(1, 60))
def test_csv_in_small_blocks(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, block: int, piece: int
) -> None:
    """Wherever a block ends that is read, and a piece of it that is counted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_BLOCK", block)
        patch.setattr(skeleton, "_PIECE", piece)
        check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows))


@examples(30)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_ndjson(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int) -> None:
    check(tmp_path_factory.mktemp("ndjson"), ndjson_case(random.Random(seed), rows))
