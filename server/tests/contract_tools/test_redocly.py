"""Redocly's linter has nothing to say about openapi.yaml."""

from pathlib import Path

import pytest
from components import component
from contract_tools.support import DESCRIPTION, run


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_no_error_and_no_warning(tmp_path: Path) -> None:
    done = run(component("redocly"), "lint", str(DESCRIPTION), "--format", "json", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert '"errors": 0' in done.stdout, done.stdout
    assert '"warnings": 0' in done.stdout, done.stdout
