"""The Python of the package's README."""

import re
from typing import Any

from on_airflow.support import ROOT


def test_the_example_is_an_operator_that_defers() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "airflow/README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)

    clean = names["clean"]
    assert clean.lume_conn_id == "lume_default"
    assert clean.deferrable
    assert "{{ ds }}" in clean.source_path
    assert "source_path" in clean.template_fields
