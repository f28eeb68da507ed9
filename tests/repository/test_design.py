"""The design pages and CONTRIBUTING.md name what is there."""

import re
from pathlib import Path

import test_layers

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs" / "design").glob("*.md")), ROOT / "CONTRIBUTING.md"]
NAMED = re.compile(r"`((?:lume_\w+|tests|tools|benchmarks|docs|examples|scripts)/[\w./-]*)`")
IN_THE_CORE = re.compile(r"`(_\w+/\w*(?:\.py)?|_\w+\.py)`")


def test_every_path_that_is_named_exists() -> None:
    text = "".join(page.read_text() for page in PAGES)
    gone = {path for path in NAMED.findall(text) if not (ROOT / path).exists()}
    short = set(IN_THE_CORE.findall(text))
    packages = [test_layers.HOMES.get(name, ROOT) / name for name in test_layers.PACKAGES]
    gone |= {path for path in short if not any((package / path).exists() for package in packages)}

    assert gone == set()


def test_the_picture_shows_every_wing() -> None:
    picture = (ROOT / "docs" / "design" / "wings.svg").read_text()
    wings = set(test_layers.WINGS["lume_async"].split()) - {
        "_decoding",
        "_exports",
        "_metadata",
        "testing",
        "webhooks",
    }

    assert {wing for wing in wings if not re.search(rf"\b{wing}\b", picture)} == set()


def test_the_tests_that_a_page_names_are_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    tests = "".join(
        path.read_text()
        for top in ("tests", "server/tests", "airflow/tests")
        for path in (ROOT / top).rglob("test_*.py")
    )

    assert named
    assert {name for name in named if f"def {name}(" not in tests} == set()
