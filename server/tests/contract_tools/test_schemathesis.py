"""schemathesis, which reads nothing but openapi.yaml: requests inside and outside of it, and chains of them."""

from pathlib import Path

import pytest
from contract_tools.support import schemathesis, served

from lume_local._http import requests


@pytest.mark.thorough
@pytest.mark.timeout(240)
def test_the_server_is_as_the_document_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_LONGEST_WAIT", 1)  # schemathesis is not patient
    with served(tmp_path) as url:
        report = schemathesis(url, tmp_path, "--max-examples", "10")
    print(report.text[-1000:])
    assert report.code == 0, report.text
    assert report.cases >= 800
    assert report.operations == 38
