"""Text that others have written is only ever text: in files, flows, metadata, paths and errors."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from components import package

from console.mending import judged, write
from console.site import Site, running

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect

EVIL = "<img src=x onerror=pwned=1><svg onload=pwned=1>'\"&amp;<script>pwned=1</script>"
FLOW = f"""
flow = "evil"
version = "{{version}}"
description = '''{EVIL}'''
[columns.id]
type = "integer"
sql = '''"{EVIL.replace('"', '""')}" -- {EVIL}{{version}}'''
description = '''{EVIL}'''
[columns.kind]
sql = '"kind"'
enum = ['''{EVIL}''']
[[rules]]
name = "rule"
sql = '''kind <> '<b>' -- {EVIL}'''
message = '''{EVIL}'''
on_fail = "warn"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("evil")
    flows = {f"evil.{version}": FLOW.replace("{version}", version) for version in ("v1", "v2")}
    with running(home, flows) as site:
        yield site


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def shows_text_only(page: Any, *places: Any) -> None:
    for place in places:
        expect(place.first).to_contain_text("<img src=x onerror=pwned=1>")
    assert page.evaluate("typeof pwned") == "undefined"
    assert page.locator("main img, main svg[onload], main script").count() == 0


def test_a_run(page: Any, site: Site) -> None:
    name = "<img src=x onerror=pwned=1>.csv"
    cells = [quoted(EVIL), quoted(EVIL)]
    text = f"{quoted(EVIL)},kind\n{','.join(cells)}\n1,{quoted(EVIL)}\n2,other\n"
    run_id = site.run(
        "evil:v1", site.write(name, text), run_metadata={EVIL: [EVIL], "resubmit_of": "javascript:1"}
    )
    run = site.ask("GET", f"/v1/runs/{run_id}")
    assert run["status"] == "PARTIAL_FAILED", run
    assert EVIL in json.dumps(run["metadata"]["metrics"]["reject_reasons"], ensure_ascii=False).replace(
        '\\"', '"'
    )
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run_id}")
    rejected = page.get_by_role("table", name="Rejected rows")
    shows_text_only(
        page,
        page.get_by_role("heading", level=1),
        rejected.locator("thead"),
        rejected.locator("tbody .value"),
        rejected.locator("tbody .reason", has_text="kind"),
        page.locator(".bars"),
        page.locator("dl.details pre"),
        page.get_by_role("table", name="First mapped rows"),
    )
    for link in page.locator("a").all():
        assert str(link.get_attribute("href")).startswith(("#/", "/v1/runs/"))
    page.evaluate("location.hash = '#/'")
    shows_text_only(page, page.locator(".list"))
    page.evaluate("location.hash = '#/inbox'")
    shows_text_only(page, page.locator(".reasons-of-flow"))
    page.locator(".reasons-of-flow a", has_text="kind").first.click()
    grid = page.get_by_role("grid")
    shows_text_only(page, grid.get_by_role("row"), grid.locator(".why"), page.get_by_label("Reason"))
    write(page, 1, "kind", EVIL)
    write(page, 1, "kind", f"{EVIL}2")
    expect(page.locator(".sheet-cell.edited")).to_contain_text("<img src=x onerror=pwned=1>")
    judged(page)
    page.get_by_role("button", name="Find and replace").click()
    shows_text_only(page, page.get_by_label("Column"))
    page.evaluate("location.hash = '#/runs'")
    shows_text_only(page, page.locator("tr.run"))
    page.get_by_role("link", name=run_id.removeprefix("run_")[:8]).click()
    page.get_by_role("button", name="Run again, forced").click()
    shows_text_only(page, page.get_by_role("dialog"))


def test_a_run_that_failed(page: Any, site: Site) -> None:
    run_id = site.run("evil:v1", "<img src=x onerror=pwned=1>/absent.csv")
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run_id}")
    shows_text_only(page, page.get_by_role("alert"))


def test_a_flow(page: Any) -> None:
    page.evaluate("location.hash = '#/flows'")
    shows_text_only(page, page.get_by_role("table"))
    page.evaluate("location.hash = '#/flows/evil?version=v2'")
    page.get_by_role("heading", name="Columns of v2").wait_for()
    shows_text_only(
        page,
        page.locator(".lead"),
        page.get_by_role("table", name="Columns"),
        page.get_by_role("table", name="Rules"),
        page.locator(".change"),
    )


def test_an_address(page: Any) -> None:
    for place in ("runs", "flows"):
        page.evaluate("(place) => { location.hash = place; }", f"#/{place}/<img src=x onerror=pwned=1>")
        shows_text_only(page, page.get_by_role("alert"))
    page.evaluate("location.hash = '#/runs?source=\"><img src=x onerror=pwned=1>'")
    expect(page.get_by_label("Source contains")).to_have_value('"><img src=x onerror=pwned=1>')
    assert page.evaluate("typeof pwned") == "undefined"
