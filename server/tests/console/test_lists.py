"""The list of runs, the flows, the overview; what changes while one looks; many runs."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import depth
import pytest
from components import package
from local.flows import PEOPLE
from local.many_runs import add_runs

from console.conftest import signed_in
from console.site import GOOD, MIXED, Site, running, usual

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect


def go(page: Any, place: str, heading: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", place)
    page.get_by_role("heading", name=heading, exact=True, level=1).wait_for()


def test_who_submitted_a_run_leads_to_all_runs_of_that_key(page: Any, site: Site) -> None:
    run = site.run("people:v1", site.write("by-whom.csv", GOOD))
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run}")
    page.get_by_role("link", name="server", exact=True).click()
    page.get_by_role("heading", name="Runs", exact=True, level=1).wait_for()
    expect(page.get_by_label("Submitted by")).to_have_value("server")
    expect(page.get_by_role("link", name=run[4:12])).to_have_count(1)


def runs(page: Any) -> Any:
    return page.locator("tr.run")


def test_runs_are_filtered(page: Any, site: Site) -> None:
    site.run("people:v1", site.write("filter-good.csv", GOOD))
    site.run("people:v1", site.write("filter-mixed.csv", MIXED))
    site.run("people:v1", "filter-absent.csv")
    site.run("notes:v1", site.write("filter.ndjson", '{"text": "fine", "stars": 1}\n'))
    go(page, "#/runs?source=filter", "Runs")
    expect(runs(page)).to_have_count(4)
    page.get_by_label("Flow").fill("people")
    page.get_by_label("Flow").press("Enter")
    expect(runs(page)).to_have_count(3)
    expect(page.get_by_label("Flow")).to_be_focused()
    page.get_by_label("Failed").check()
    expect(runs(page)).to_have_count(1)
    expect(runs(page)).to_contain_text("filter-absent.csv")
    page.get_by_label("Partial").check()
    expect(runs(page)).to_have_count(2)
    page.get_by_label("Failed").uncheck()
    page.get_by_label("Partial").uncheck()
    page.get_by_label("Needs attention").check()
    expect(runs(page)).to_have_count(2)
    page.get_by_label("Source contains").fill("mixed")
    page.get_by_label("Source contains").press("Enter")
    expect(runs(page)).to_have_count(1)
    expect(runs(page)).to_contain_text("66.7 %")
    page.get_by_label("Created").select_option("Last hour")
    expect(runs(page)).to_have_count(1)
    page.get_by_label("Submitted by").fill("nobody")
    page.get_by_label("Submitted by").press("Enter")
    expect(runs(page)).to_have_count(0)
    page.get_by_label("Submitted by").fill("server")
    page.get_by_label("Submitted by").press("Enter")
    expect(runs(page)).to_have_count(1)
    page.go_back()
    page.reload()
    expect(page.get_by_label("Source contains")).to_have_value("mixed")
    page.get_by_label("Flow").fill("nobody:v9")
    page.get_by_label("Flow").press("Enter")
    expect(page.get_by_text("No run matches these filters.")).to_be_visible()


def test_a_run_is_opened_by_its_source(page: Any, site: Site) -> None:
    site.run("people:v1", site.write("by-name.csv", GOOD))
    go(page, "#/runs?source=by-name", "Runs")
    runs(page).get_by_role("link", name="by-name.csv").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("by-name.csv")


def test_a_warning_of_a_column_has_no_number_of_rows(page: Any, site: Site) -> None:
    flow = PEOPLE.replace('"people"', '"warned"') + '[source]\non_unknown_columns = "warn"\n'
    flow += '[[rules]]\nname = "young"\nsql = "age > 30"\non_fail = "warn"\n'
    (site.home / "flows" / "warned.v1.toml").write_text(flow)
    run_id = site.run("warned:v1", site.write("warned.csv", "id,Email,Age,Note\n1,a@b.org,20,x\n"))
    go(page, f"#/runs/{run_id}", "warned.csv")
    warned = page.locator(".card", has_text="Warnings").get_by_role("listitem")
    expect(warned).to_have_text(["column 'Note' is not read ", "young: is broken 1 row"])


def test_a_server_that_is_away_is_reported_in_words(page: Any, site: Site) -> None:
    page.route("**/v1/runs?*", lambda route: route.abort())
    go(page, "#/runs?source=away", "This page can't be shown")
    expect(page.get_by_role("alert")).to_contain_text("The server can't be reached: check that it is running")
    page.unroute("**/v1/runs?*")


def test_a_run_appears_and_changes_while_one_looks(page: Any, site: Site) -> None:
    go(page, "#/runs?flow=slow", "Runs")
    page.get_by_label("Flow").wait_for()
    run_id = site.submit("slow:v1", "slow.csv")
    row = page.locator(f"tr[data-key='{run_id}']")
    expect(row).to_contain_text("Transforming")
    row.get_by_role("link").first.focus()
    site.ask("POST", f"/v1/runs/{run_id}/cancel")
    expect(row).to_contain_text("Cancelled")
    expect(row.get_by_role("link").first).to_be_focused()


def test_the_overview_counts_and_names_what_waits(page: Any, site: Site) -> None:
    site.run("people:v1", site.write("waits.csv", MIXED))
    go(page, "#/", "Overview")
    waiting = page.locator(".card", has_text="Waits for a person")
    expect(waiting).to_contain_text("waits.csv")
    expect(waiting).to_contain_text("66.7 % of 3 rows rejected")
    expect(page.locator(".card", has_text="Worst flows")).to_contain_text("people:v1")
    page.get_by_text("As a table").click()
    before = page.locator(".figure", has_text="Runs").first.locator("dd").inner_text()
    site.run("people:v1", "waits.csv", force_rerun=True)
    expect(page.locator(".figure", has_text="Runs").first.locator("dd")).not_to_have_text(before)
    expect(page.get_by_role("table", name="Runs per hour")).to_be_visible()
    waiting.get_by_role("link", name=re.compile("waits.csv")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("waits.csv")


def test_a_flow_with_its_versions_and_what_one_changes(page: Any, site: Site) -> None:
    second = PEOPLE.replace('"v1"', '"v2"').replace("maximum = 150", "maximum = 120")
    second = second.replace("[columns.age]", '[columns.name]\nsql = "Name"\n[columns.age]')
    (site.home / "flows" / "people.v2.toml").write_text(second)
    site.run(
        "people:v2", site.write("versions.csv", "id,Email,Age,Name\n1,a@b.org,130,Ann\n2,b@b.org,3,Bo\n")
    )
    go(page, "#/flows", "Flows")
    line = page.get_by_role("row").filter(has=page.get_by_role("link", name="people:v2"))
    expect(line).to_contain_text("50.0 %")
    site.run(
        "people:v2",
        site.write("worse.csv", "id,Email,Age,Name\n1,no,1,Ann\n2,b@b.org,3,Bo\n3,no,1,C\n4,no,1,D\n"),
    )
    expect(line).to_contain_text("66.7 %")
    page.get_by_role("link", name="people:v2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("people")
    columns = page.get_by_role("table", name="Columns")
    expect(columns.get_by_role("row")).to_have_count(5)
    expect(columns).to_contain_text('lower(trim("Email"))')
    expect(columns).to_contain_text("format email")
    changed = page.locator(".change")
    expect(changed).to_have_count(2)
    expect(changed.filter(has_text="column age").locator(".removed")).to_have_text("- maximum = 150\n")
    expect(changed.filter(has_text="column age").locator(".diff .added")).to_have_text("+ maximum = 120\n")
    expect(changed.filter(has_text="column name")).to_contain_text("added")
    chart = page.locator(".card", has_text="Share of rejected rows")
    chart.get_by_text("As a table").click()
    expect(chart.get_by_role("row").filter(has_text="v2")).to_contain_text("66.7 %")
    site.run("people:v2", "worse.csv", force_rerun=True)
    expect(chart.get_by_role("row").filter(has_text="v2")).to_contain_text("70.0 %")
    page.get_by_role("navigation", name="Versions").get_by_role("link", name="v1").click()
    expect(page.get_by_role("heading", name="Columns of v1")).to_be_visible()
    page.get_by_label("Compared with").select_option("v2")
    expect(page.locator(".change").filter(has_text="column name")).to_contain_text("removed")


def test_the_clean_rows_of_a_flow(page: Any, site: Site) -> None:
    text = PEOPLE.replace('"people"', '"clean"')
    (site.home / "flows" / "clean.v1.toml").write_text(text)
    for _ in range(2):
        site.run("clean:v1", site.write("clean.csv", GOOD), force_rerun=True)
    lines = GOOD.count("\n") - 1
    go(page, "#/flows/clean", "clean")
    expect(page.locator("p", has_text="of all runs, each once")).to_contain_text(f"{lines} clean rows")
    with page.expect_download() as started:
        page.get_by_role("button", name="As .xlsx").click()
    book = package("openpyxl").load_workbook(io.BytesIO(Path(started.value.path()).read_bytes()))
    assert [cell.value for cell in next(book.active.rows)] == ["id", "email", "age"]
    assert book.active.max_row == lines + 1

    # Where there is none, the page says why.
    (site.home / "flows" / "clean.v2.toml").write_text(
        text.replace('"v1"', '"v2"').replace('type = "integer"\nminimum', 'type = "number"\nminimum')
    )
    site.run("clean:v2", site.write("clean2.csv", GOOD))
    go(page, "#/flows", "Flows")
    go(page, "#/flows/clean", "clean")
    expect(page.get_by_text("Clean rows: column 'age' is")).to_be_visible()


@pytest.fixture(scope="module", params=[100_000 if depth.is_thorough else 2_000])
def many(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, many: int) -> Iterator[Site]:
    """A server with so many runs."""
    home = tmp_path_factory.mktemp("crowd")
    with running(home, usual(home)):
        pass
    add_runs(home / ".lume/state/runs.sqlite", many)
    with running(home, usual(home)) as site:
        yield site


def fetched(page: Any, site: Site, place: str) -> set[str]:
    """What a page asks the server for until all that it shows is there."""
    page.goto("about:blank")
    asked = set[str]()

    def note(request: Any) -> None:
        asked.add(request.url.removeprefix(site.url).partition("?")[0])

    page.on("request", note)
    page.goto(f"{site.url}/{place}")
    page.locator("main h1").wait_for()
    page.remove_listener("request", note)
    return asked


@pytest.mark.timeout(180)
def test_thousands_of_runs_are_shown_at_once_and_a_page_at_a_time(
    visitor: Any, site: Site, crowd: Site, many: int
) -> None:
    signed_in(visitor, site)
    page = signed_in(visitor, crowd)
    for place in ("#/", "#/runs?status=FAILED&flow=flow3", "#/runs?attention=0.05", "#/runs"):
        of_few = fetched(page, site, place)
        assert fetched(page, crowd, place) <= of_few
    expect(runs(page)).to_have_count(50)
    assert page.evaluate("document.querySelectorAll('*').length") < 1500
    first = runs(page).first.get_attribute("data-key")
    for _ in range(3):
        last = runs(page).last.get_attribute("data-key")
        page.get_by_role("link", name="Older").click()
        expect(page.locator(f"tr[data-key='{last}']")).to_have_count(0)
        expect(runs(page)).to_have_count(50)
    page.go_back()
    expect(runs(page)).to_have_count(50)
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(f"tr[data-key='{first}']")).to_be_visible()
    assert sum(item["runs"] for item in crowd.ask("GET", "/v1/statistics")["items"]) == many
