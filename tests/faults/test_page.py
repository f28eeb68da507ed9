"""`docs/what-happens-when.md` names tests: all of them exist."""

import ast
import re

import pytest
from faults.support import ROOT


@pytest.mark.once
def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "what-happens-when.md").read_text(encoding="utf-8")
    files = [ROOT / path for path in re.findall(r"`((?:server/)?tests/(?:\w+/)*test_\w+\.py)`", page)]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    there = {getattr(node, "name", "") for tree in trees for node in tree.body}

    named = set(re.findall(r"`(test_\w+)`", page))

    assert len(named) > 50
    assert named - there == set()
