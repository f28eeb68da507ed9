"""One noun, one meaning: a search for the name of a class finds its one home."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("lume_async", "lume_cli", "server/lume_local", "airflow/lume_airflow")


def test_the_name_of_a_class_has_one_home() -> None:
    homes = defaultdict[str, set[str]](set)
    for path in (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(path.relative_to(ROOT).as_posix())

    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
