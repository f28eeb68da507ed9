"""Numbers of things in messages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lume_async._base.words import counted

ROOT = Path(__file__).parents[3]
PACKAGES = [package for top in (".", "server", "airflow") for package in sorted((ROOT / top).glob("lume_*"))]
SOURCES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
PLURAL = re.compile(
    r" (?:\w+ )?(?:rows|runs|files|sources|values|columns|outcomes|rejects|deliveries|uploads)\b"
)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_234_567, "1,234,567 rows")]
)
def test_a_noun_agrees_with_its_number(number: int, text: str) -> None:
    assert counted(number, "row") == text


@pytest.mark.parametrize(("number", "text"), [(1, "1 entry is"), (2, "2 entries are")])
def test_a_phrase_agrees_where_an_s_is_not_enough(number: int, text: str) -> None:
    assert counted(number, "entry is", "entries are") == text


def test_no_message_has_a_noun_in_the_plural_behind_a_number_that_may_be_1() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {text}" for path in SOURCES for line, text in uncounted(path)
    ]

    assert len(SOURCES) > 500
    assert faults == []


def uncounted(path: Path) -> Iterator[tuple[int, str]]:
    """The f-strings with a number, as it is or with separators, before a plural; bounds (in capitals) are above 1."""
    for text in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr)):
        for value, after in zip(text.values, text.values[1:], strict=False):
            if (
                isinstance(value, ast.FormattedValue)
                and isinstance(after, ast.Constant)
                and PLURAL.match(str(after.value))
                and is_number(value)
            ):
                yield value.lineno, ast.unparse(text)


def is_number(value: ast.FormattedValue) -> bool:
    is_separated = value.format_spec is not None and "," in ast.unparse(value.format_spec)
    shown = ast.unparse(value.value)
    return (is_separated or shown.startswith("len(")) and not shown.rpartition(".")[2].isupper()
