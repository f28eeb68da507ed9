"""Polluted files: whatever is wrong with one, every record of it is mapped or rejected as plain Python says."""

import random
from pathlib import Path

import pytest
from local.compare import check
from local.plain_csv import Dialect
from local.pollution import polluted_case, polluted_files

FILES = polluted_files(random.Random(7), 12)


@pytest.mark.parametrize(("name", "content", "dialect"), FILES, ids=[name for name, *_ in FILES])
def test_polluted(tmp_path: Path, name: str, content: bytes, dialect: Dialect) -> None:
    check(tmp_path, polluted_case(content, dialect))
