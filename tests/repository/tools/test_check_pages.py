"""The script that looks for what is cut: what it finds, and what it says without a browser."""

import shutil
import sys
from pathlib import Path

import pytest
from components import component

TOOLS = Path(__file__).parents[3] / "tools"
sys.path.insert(0, str(TOOLS))  # a script beside others, not a package

import check_pages  # noqa: E402


@pytest.fixture
def browser() -> None:
    component(*check_pages.NAMES)


def page_with(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    monkeypatch.setattr(check_pages, "SITE", folder)
    (folder / "guide").mkdir()
    (folder / "guide" / "index.html").write_text(f"<!doctype html><body style='margin:0'>{body}")


@pytest.mark.thorough
@pytest.mark.usefixtures("browser")
def test_a_page_that_fits_is_fine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: "pytest.CaptureFixture[str]"
) -> None:
    page_with(monkeypatch, tmp_path, "<p>words that wrap</p>" * 50)

    assert check_pages.main() == 0
    assert capsys.readouterr().out == ""


@pytest.mark.thorough
@pytest.mark.usefixtures("browser")
def test_a_page_and_a_code_block_that_are_too_wide_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: "pytest.CaptureFixture[str]"
) -> None:
    wide = "<div style='width:800px'>wide</div>"
    code = f"<article><pre><code style='display:block;overflow:auto'>{'x' * 900}</code></pre></article>"
    page_with(monkeypatch, tmp_path, wide + code)

    assert check_pages.main() == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in told] == [
        ["desktop", "/guide/"],  # the code only
        ["phone", "/guide/"],
        ["phone", "/guide/"],
    ]
    assert "410 px too wide" in told[1]


@pytest.mark.thorough
def test_without_a_browser_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: "pytest.CaptureFixture[str]"
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert check_pages.main() == 0
    assert "chromium is not installed: ./scripts/components" in capsys.readouterr().err
