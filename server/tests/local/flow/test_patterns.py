"""Patterns for keys match what a walk through folders finds."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lume_local._flow.patterns import Pattern
from lume_local._runs.sources.source_files import Walk

FILES = ("a.csv", "b/a.csv", "b/.c.csv", "b/c/a.csv", "b/c/[d].csv", ".e/a.csv", "b/.e/f.csv", "ab/c/b/c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("patterns")
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


PARTS = ("*", "**", "?", "*.csv", "a*", ".*", "b", "c", "[[]d].csv", "[!b]", "a.csv")


@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=5))
@example(parts=["**", "**", "c", "**"])
@example(parts=["**"])
@settings(max_examples=200, deadline=None)
def test_as_a_walk(folder: Path, parts: list[str]) -> None:
    pattern = "/".join(parts)
    matches = Pattern(pattern).matches
    walked = Walk(lambda: False).files(str(folder), pattern)
    assert [f"{folder}/{name}" for name in sorted(FILES) if matches(name)] == sorted(walked)


@pytest.mark.parametrize("pattern", ["**/" * 40 + "x", "*" * 60 + "/**/" + "*a" * 30])
def test_no_pattern_takes_long(pattern: str) -> None:
    assert not Pattern(pattern).matches("a/" * 200 + "b")
