"""examples/README.md has every example, and examples are short and say how they are run."""

import ast
import re

import pytest
from examples.support import EXAMPLES

TABLE = re.findall(r"^\| \[(.+?)\]\(\1\) \|.*\| (.*) \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
COPIED = ("backfill", "fastapi_service", "server", "webhook_receiver", "wsgi_app")


def test_every_example_has_a_row() -> None:
    assert sorted(name for name, _ in TABLE) == sorted(
        it.name for it in EXAMPLES.iterdir() if it.suffix in (".py", ".ipynb")
    )


@pytest.mark.parametrize("name", COPIED)
def test_what_is_copied_is_short_and_begins_with_its_command(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    commands = re.findall("`(.+?)`", dict(TABLE)[f"{name}.py"])

    assert len(text.splitlines()) <= 80
    assert [it for it in commands if it not in (ast.get_docstring(ast.parse(text)) or "")] == []
