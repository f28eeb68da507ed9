"""Map a file: what is proposed, what a person decides, a trial, the next version, and a run of it."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.workbooks import Sheet, written

from console.conftest import profile, watched
from console.site import Site, running
from console.test_access import fits, violations

expect = package("playwright.sync_api").expect
PATIENCE = 40_000
"""Milliseconds: each decision is tried on the file, in another process, perhaps on a busy machine."""
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(180)]

ORDERS = """
flow = "orders"
version = "v3"
[columns.order_id]
type = "integer"
required = true
[columns.ordered]
format = "date"
[columns.amount]
type = "number"
[columns.size]
sql = 'upper(trim("Size"))'
enum = ["S", "M", "L"]
[columns.note]
"""
SUBMITTER = "submitter-0123456789abcdef0123456789"
FOREIGN = (
    "Order-ID;ordered;amount;Grösse;Bemerkung\n"
    "1;03/04/2024;1,234;s;a\n2;05/06/2024;2,345;XL;b\n3;07/08/2024;3,456;M;c\n"
)
READ = "order_id,ordered,amount,Size,note\n1,2024-04-13,1.5,s,a\n"
SHOP = "OrderNo,ordered,total,Size\n7,2024-03-14,1.5,S\n8,2024-03-15,2.5,M\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("map")
    digest = hashlib.sha256(SUBMITTER.encode()).hexdigest()
    (home / "keys.toml").write_text(f'[bob]\nrole = "submit"\nsha256 = "{digest}"\n')
    (home / "arrivals.toml").write_text("")
    with running(home, {}, keys=home / "keys.toml", arrivals=home / "arrivals.toml") as site:
        yield site


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=5000)


@pytest.fixture
def orders(site: Site, request: pytest.FixtureRequest) -> str:
    """A flow of the test's own; its name."""
    name = request.node.name.removeprefix("test_")[:60].replace("[", "-").rstrip("]")
    definition = tomllib.loads(ORDERS.replace('"orders"', f'"{name}"'))
    site.ask("PUT", f"/v1/flows/{name}/versions/v3", definition)
    return str(name)


def opened(page: Any, flow: str, file: str, columns: str = "Columns") -> None:
    page.evaluate("(place) => { location.hash = place; }", f"#/map/{flow}?file={file}")
    page.get_by_role("table", name=columns).first.wait_for(timeout=PATIENCE)


def row(page: Any, column: str) -> Any:
    return page.locator("table.map > tbody > tr").filter(has=page.locator(f"th:text('{column}')"))


def read_from(page: Any, column: str, source: str) -> None:
    page.get_by_label(f"Source of {column}").select_option(json.dumps([source], ensure_ascii=False))


def saved(page: Any, version: str) -> str:
    """Save it; the status of the run that the page then shows."""
    page.get_by_role("button", name=f"Save as {version} and run the file").click()
    page.wait_for_url("**/#/runs/**", timeout=PATIENCE)
    page.locator(".run-page").wait_for()
    expect(page.locator(".badge")).to_have_text(re.compile("Succeeded|Partial|Failed"))
    return str(page.locator(".badge").text_content())


def decided(page: Any) -> None:
    """Everything that has to be decided about the foreign file."""
    page.get_by_label("the day first").check()
    page.get_by_label("a decimal comma").check()
    read_from(page, "size", "Grösse")
    page.get_by_label("Meaning of XL in size").select_option("L")
    page.get_by_label("Source of note").select_option("leave open")


def test_a_failed_run_leads_to_a_version_that_reads_its_file(page: Any, site: Site, orders: str) -> None:
    failed = site.run(f"{orders}:v3", site.write("foreign.csv", FOREIGN), run_metadata={"ticket": "M-1"})
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{failed}")
    expect(page.get_by_role("alert")).to_contain_text("order_id")
    page.get_by_role("link", name="Map this file").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Map foreign.csv")

    ordered = row(page, "ordered")
    expect(ordered).to_contain_text("Decide: no value decides between the day first")
    expect(row(page, "order_id").locator(".badge")).to_have_text("certain")
    expect(row(page, "order_id").get_by_role("listitem").filter(has_text="becomes")).to_have_count(3)
    expect(ordered.locator(".values")).to_contain_text("rejected")
    page.get_by_label("the day first").check()
    expect(ordered.locator(".values li").first).to_have_text("03/04/2024 → becomes 2024-04-03")
    page.get_by_label("a decimal comma").check()
    expect(row(page, "amount").locator(".values li").first).to_contain_text("1.234")
    read_from(page, "size", "Grösse")
    page.get_by_label("Meaning of XL in size").select_option("L")
    expect(row(page, "size").locator(".values")).to_contain_text("XL → becomes L")
    page.get_by_label("Source of note").select_option("leave open")
    expect(row(page, "note")).to_contain_text("Left open: NULL in every row.")

    page.get_by_role("button", name="Approve certain columns").click()
    expect(page.get_by_role("button", name="Approve order_id")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Flag amount").click()
    page.get_by_label("Why amount is flagged").fill("net or gross?")
    page.keyboard.press("Tab")

    page.get_by_role("button", name="Try", exact=True).click()
    figures = page.locator(".map-page .figures")
    expect(figures).to_contain_text("Rows read3")
    expect(figures).to_contain_text("Clean3")
    expect(page.get_by_role("table", name="First clean rows").locator("tbody tr")).to_have_count(3)
    assert [one["version"] for one in site.ask("GET", f"/v1/flows?flow={orders}")["items"]] == ["v3"]

    with page.expect_download() as started:
        page.get_by_role("button", name="Download it").click()
    text = Path(started.value.path()).read_text()
    assert started.value.suggested_filename == f"{orders}.v4.toml"
    for said in ("# Approved: order_id", "# FLAGGED. net or gross?", "# Left open by a person."):
        assert said in text

    assert saved(page, "v4") == "Succeeded"
    run = site.ask("GET", f"/v1/runs/{page.url.partition('#/runs/')[2]}")
    assert (run["flow_version"], run["source_path"]) == (f"{orders}:v4", "foreign.csv")
    assert run["run_metadata"] == {"ticket": "M-1"}
    assert run["metadata"]["metrics"]["rows_mapped"] == 3
    registered = site.ask("GET", f"/v1/flows/{orders}/versions/v4")["definition"]
    assert registered == tomllib.loads(text)
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('lume-map'))") == []


def test_a_trial_shows_why_rows_are_rejected_and_passes_with_the_next_change(
    page: Any, site: Site, orders: str
) -> None:
    opened(page, orders, site.write("rejected.csv", FOREIGN))
    read_from(page, "size", "Grösse")
    expect(page.get_by_label("Meaning of XL in size")).to_be_visible()
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator(".map-page .figures")).to_contain_text("Rejected3")
    expect(page.locator(".bars")).to_contain_text("ordered:")
    rejected = page.get_by_role("table", name="First rejected rows")
    expect(rejected.locator("tbody tr")).to_have_count(3)
    expect(rejected.locator("td.blamed").first).to_have_text("03/04/2024")
    page.get_by_label("the day first").check()
    expect(page.get_by_text("The mapping has changed since: try it again.")).to_be_visible()
    expect(page.locator(".map-page .figures")).to_have_count(0)


def test_a_file_of_this_computer_is_uploaded_and_mapped(
    page: Any, site: Site, orders: str, tmp_path: Path
) -> None:
    page.evaluate("(place) => { location.hash = place; }", f"#/flows/{orders}")
    page.get_by_role("link", name="Map a file …").click()
    own = tmp_path / "Neue Bestellungen.csv"
    own.write_text("Order-ID;ordered;amount;Size;note\n1;2024-04-13;1.5;s;a\n")
    page.get_by_label("Files on this computer").set_input_files(own)
    page.get_by_role("button", name="Upload and map").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Map Neue_Bestellungen.csv")
    page.wait_for_url("**/#/map/**upload**")
    expect(page.get_by_label("Name of the layout")).to_have_value("neue_bestellungen")
    assert saved(page, "v4") == "Succeeded"
    expect(page.get_by_role("heading", level=1)).to_have_text("Neue_Bestellungen.csv")
    expect(page.get_by_role("link", name="Map this file")).to_be_visible()
    page.evaluate("location.hash = '#/runs'")
    expect(page.get_by_role("link", name="Neue_Bestellungen.csv", exact=True)).to_be_visible()


PAGE_WORDS = re.compile(r"upload://|[0-9a-f]{32}|--[a-z]|\b(encoding|delim)=|`|in the comment")
"""What means nothing to somebody at a browser."""


def test_a_file_of_this_computer_is_told_of_in_the_words_of_the_page(
    page: Any, site: Site, orders: str
) -> None:
    head, *rows = FOREIGN.splitlines()
    titles = ["Bestellungen der Müller GmbH", "Stand: 1.12.2026", ""]
    text = "\n".join([*titles, head, *rows * 20, "", "Summe;;123,00;;", ""])
    unclear = "\n".join(["id;name", "1;Pe\xf1a", ""])
    page.evaluate("(place) => { location.hash = place; }", f"#/map/{orders}")
    for name, content in (("unclear.csv", unclear.encode("latin-1")), ("german.csv", text.encode("cp1252"))):
        file = {"name": name, "mimeType": "text/csv", "buffer": content}
        page.get_by_label("Files on this computer").set_input_files([file])
        page.get_by_role("button", name="Upload and map").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Map {name}")
        if name == "unclear.csv":
            problem = page.get_by_role("alert").first
            expect(problem).to_contain_text("unclear.csv is not UTF-8, and")
            expect(problem).to_contain_text("set its encoding, such as")
            assert not PAGE_WORDS.search(page.locator("main").inner_text())
    skipped = page.get_by_text("Skipped in german.csv: 3 title lines, 1 blank line.")
    expect(skipped).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("if that looks wrong, set its encoding.")).to_be_visible()
    assert not PAGE_WORDS.search(page.locator("main").inner_text())
    page.get_by_role("button", name="They are a footer").click()
    expect(page.get_by_text("1 blank line, 1 footer line.")).to_be_visible()
    expect(page.get_by_text(f"Saving adds {orders}:v4.")).to_contain_text(
        "It reads files like german.csv with the new layout german. "
        f"Other files are read as by {orders}:v3, with the layout v3."
    )
    assert violations(page) == []
    fits(page, "the mapping of an upload")


def test_a_reload_loses_nothing(page: Any, site: Site, orders: str) -> None:
    opened(page, orders, site.write("reload.csv", FOREIGN))
    page.get_by_label("the day first").check()
    read_from(page, "size", "Grösse")
    page.get_by_label("Meaning of XL in size").select_option("L")
    page.get_by_role("button", name="Approve order_id").click()
    page.get_by_role("button", name="Flag amount").click()
    page.get_by_label("Why amount is flagged").fill("why")
    page.keyboard.press("Tab")
    expect(row(page, "size").locator(".values")).to_contain_text("XL → becomes L")
    page.reload()
    page.get_by_role("table", name="Columns", exact=True).wait_for(timeout=PATIENCE)
    expect(page.get_by_label("the day first")).to_be_checked()
    expect(page.get_by_label("Meaning of XL in size")).to_have_value("2")
    expect(page.get_by_role("button", name="Approve order_id")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Why amount is flagged")).to_have_value("why")
    # What was decided for columns that the flow has no more is given up, and said to be.
    page.evaluate(
        """() => { for (const key of Object.keys(sessionStorage)) if (key.startsWith('lume-map'))
        sessionStorage.setItem(key, JSON.stringify({choices: {gone: {sources: []}}})); }"""
    )
    page.reload()
    expect(page.locator(".notice.problem")).to_contain_text("no longer fit")
    expect(page.get_by_label("the day first")).not_to_be_checked()


def test_two_people_save_at_once(page: Any, site: Site, orders: str) -> None:
    text = FOREIGN.replace("1,234", "1.5").replace("2,345", "2.5").replace("3,456", "3.5")
    opened(page, orders, site.write("twice.csv", text.replace("Grösse", "Format").replace("XL", "l")))
    read_from(page, "size", "Format")
    page.get_by_label("Source of note").select_option("leave open")
    page.get_by_label("the day first").check()
    expect(row(page, "ordered").locator(".values li").first).to_contain_text("2024-04-03")
    definition = site.ask("GET", f"/v1/flows/{orders}/versions/v3")["definition"]
    definition["columns"]["size"] = {
        "from": ["Size", "Grösse"],
        "enum": ["S", "M", "L"],
        "sql": "upper(value)",
    }
    site.ask("PUT", f"/v1/flows/{orders}/versions/v4", definition | {"version": "v4"})
    page.get_by_role("button", name="Save as v4 and run the file").click()
    expect(page.get_by_role("alert").filter(has_text="Somebody else has just saved another")).to_be_visible()
    expect(page.get_by_label("the day first")).to_be_checked()
    assert saved(page, "v5") == "Succeeded"
    layouts = site.ask("GET", f"/v1/flows/{orders}/versions/v5")["definition"]["layouts"]
    assert layouts["v4"]["columns"]["size"]["from"] == ["Size", "Grösse"]
    assert layouts["twice"]["columns"]["size"]["from"] == ["Format"]


def test_who_is_no_admin_sees_why_and_takes_the_file_elsewhere(browser: Any, site: Site, orders: str) -> None:
    token = site.ask("POST", "/console/links", **{"lume-api-key": SUBMITTER})["token"]
    with profile(browser) as fresh, watched(fresh.new_page()) as page:
        page.goto(f"{site.url}/#token={token}")
        page.get_by_role("heading", name="Overview").wait_for()
        opened(page, orders, site.write("submit.csv", FOREIGN))
        expect(
            page.get_by_text("You can't save it as v4: this needs a key with the role admin")
        ).to_be_visible()
        expect(page.get_by_role("button", name="Save as v4 and run the file")).to_have_count(0)
        page.get_by_role("button", name="Try", exact=True).click()
        expect(page.locator(".map-page .figures")).to_contain_text("Rows read")
        page.get_by_text("Show the flow file").click()
        expect(page.get_by_label("The flow file")).to_contain_text("[columns.size]")


def test_a_file_that_is_not_there_is_asked_for(page: Any, site: Site, orders: str) -> None:
    failed = site.run(f"{orders}:v3", "absent.csv")
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{failed}")
    page.get_by_role("link", name="Map this file").click()
    expect(page.get_by_role("alert")).to_contain_text("does not exist")
    expect(page.get_by_label("Files on this computer")).to_be_visible()


def test_what_is_no_table_or_lies_elsewhere_is_to_be_uploaded(page: Any, site: Site, orders: str) -> None:
    wanted = {
        site.write("a.pdf", "%PDF-1.7"): "a PDF document",
        "s3://bucket/a.csv": "lies in an object store or on an SFTP server",
    }
    for file, words in wanted.items():
        page.evaluate("(place) => { location.hash = place; }", f"#/map/{orders}?file={file}")
        expect(page.get_by_role("alert")).to_contain_text(words)
        expect(page.get_by_role("button", name="Upload and map")).to_be_visible()


def test_files_of_several_senders_become_layouts_of_one_version(page: Any, site: Site, orders: str) -> None:
    one, two = site.write("mueller.csv", FOREIGN), site.write("shop.csv", SHOP)
    opened(page, orders, f"{one}&file={two}", "Columns in")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Map {one}, {two}")
    mueller, shop = "mueller", "shop"
    page.get_by_label(f"Source of size in {mueller}").select_option('["Grösse"]')
    page.get_by_label(f"Meaning of XL in size in {mueller}").select_option("L")
    page.get_by_label("the day first").check()
    page.get_by_label("a decimal comma").check()
    for layout in (mueller, shop):
        page.get_by_label(f"Source of note in {layout}").select_option("leave open")
    read = page.get_by_role("table", name=f"Columns in {shop}").locator("tbody tr")
    expect(read.filter(has_text="amount")).to_contain_text("total")
    for tried, rows in ((one, 3), (two, 2)):
        page.locator("select[name=tried]").select_option(label=tried)
        page.get_by_role("button", name="Try", exact=True).click()
        expect(page.locator(".map-page .figures")).to_contain_text(f"Rows read{rows}Clean{rows}")
    page.reload()
    page.get_by_role("button", name="Save as v4 and run the files").click()
    page.wait_for_url("**/#/runs?flow=**", timeout=PATIENCE)
    expect(page.locator("tr.run .badge")).to_have_text(["Succeeded", "Succeeded"])
    page.locator("tr.run").get_by_role("link", name=one).click()
    expect(page.get_by_role("table", name="Layouts")).to_contain_text(f"{mueller}13")
    page.evaluate("(place) => { location.hash = place; }", f"#/flows/{orders}")
    seen = page.get_by_role("table", name="Layouts").locator("tbody tr").filter(has_text=shop)
    expect(seen).to_contain_text(re.compile(f"{shop}csv120.*20[0-9]{{2}}"))


def test_decisions_about_a_layout_stay_with_other_files(page: Any, site: Site, orders: str) -> None:
    one, two = site.write("mueller.csv", FOREIGN), site.write("shop.csv", SHOP)
    opened(page, orders, one)
    page.get_by_label("the day first").check()
    expect(row(page, "ordered").locator(".values li").first).to_contain_text("2024-04-03")
    page.get_by_label("Name of the layout").fill("partner")
    page.get_by_label("Name of the layout").press("Tab")
    expect(page.get_by_role("heading", name="Layout partner", exact=True)).to_be_visible()
    opened(page, orders, f"{one}&file={two}", "Columns in mueller")
    expect(page.get_by_label("the day first")).to_be_checked()
    page.get_by_label("Source of note in shop").select_option("leave open")
    expect(page.get_by_role("table", name="Columns in shop")).to_contain_text("Left open")
    page.get_by_role("link", name=f"Leave {two} out").click()
    page.get_by_role("table", name="Columns", exact=True).wait_for(timeout=PATIENCE)
    expect(page.locator(".notice.problem").last).to_contain_text(
        "Some of your earlier decisions no longer fit."
    )
    expect(page.get_by_label("the day first")).to_be_checked()


def test_a_file_that_the_flow_reads_is_just_run(page: Any, site: Site, orders: str) -> None:
    opened(page, orders, site.write(f"{orders}.csv", READ))
    expect(page.get_by_text(f"{orders}:v3 reads {orders}.csv.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Save as"))).to_have_count(0)
    expect(page.get_by_text(f"{orders}:v3 reads {orders}.csv already: nothing is saved.")).to_be_visible()
    named = page.get_by_label("Or add a new layout for such files, called")
    named.fill("partner")
    named.press("Tab")
    expect(page.get_by_text("with the new layout partner.")).to_be_visible()
    expect(page.get_by_role("button", name="Save as v4 and run the file")).to_be_visible()
    page.get_by_label("Name of the layout").fill("")
    page.get_by_label("Name of the layout").press("Tab")
    page.get_by_role("button", name=f"Run the file with {orders}:v3").click()
    page.wait_for_url("**/#/runs/**", timeout=PATIENCE)
    run = site.ended(page.url.partition("#/runs/")[2])
    assert (run["flow_version"], run["status"]) == (f"{orders}:v3", "SUCCEEDED")


def test_how_a_file_is_read_is_said_on_the_page(page: Any, site: Site, orders: str) -> None:
    text = (
        "Order-ID;ordered;amount;Size;note\n1;2024-04-13;1.5;s;Köln\n2;2024-04-14;2.5;m;Bonn\nSumme;;4.0;;\n"
    )
    opened(page, orders, site.write(f"{orders}.csv", text))
    page.get_by_label("Encoding").fill("cp1252")
    page.get_by_label("Encoding").press("Tab")
    expect(row(page, "note").locator(".values")).to_contain_text("KÃ¶ln")
    page.get_by_label("Encoding").fill("latin-99")
    page.get_by_label("Encoding").press("Tab")
    expect(page.locator(".notice.problem")).to_contain_text("unknown encoding 'latin-99'")
    expect(page.get_by_label("Encoding")).to_have_value("cp1252")
    page.get_by_role("button", name="They are a footer").click()
    expect(page.get_by_label("Footer lines begin with")).to_have_value("Summe")
    expect(page.get_by_text("the last lines begin with")).to_have_count(0)
    page.get_by_label("Line of the header").fill("0")
    page.get_by_label("Line of the header").press("Tab")
    expect(page.get_by_label("Source of order_id").locator("option", has_text="column_1")).to_have_count(1)
    page.get_by_role("button", name="Detect all").click()
    expect(page.get_by_label("Encoding")).to_have_value("utf-8")
    expect(row(page, "note").locator(".values")).to_contain_text("Köln")
    page.get_by_label("Delimiter").select_option("tab")
    expect(page.locator(".doubts").first).to_contain_text('";", set its delimiter')


def test_what_can_not_be_read_as_said_asks_again(page: Any, site: Site, orders: str) -> None:
    file = site.write(f"{orders}.csv", READ)
    page.evaluate(
        """([flow, file]) => sessionStorage.setItem(`lume-map:${flow}:${file}`,
        JSON.stringify({sources: {[file]: {csv: {encoding: "latin-99"}}}}))""",
        [orders, file],
    )
    page.evaluate("(place) => { location.hash = place; }", f"#/map/{orders}?file={file}")
    expect(page.get_by_role("alert")).to_contain_text("unknown encoding 'latin-99'")
    expect(page.get_by_label("Encoding")).to_have_value("latin-99")
    assert violations(page) == []
    page.get_by_label("Encoding").fill("cp850")
    page.get_by_label("Encoding").press("Tab")
    page.get_by_role("table", name="Columns", exact=True).wait_for(timeout=PATIENCE)
    expect(page.get_by_label("Encoding")).to_have_value("cp850")


def test_a_sheet_is_chosen(page: Any, site: Site, orders: str) -> None:
    head = ["Order-ID", "ordered", "amount", "Size", "note"]
    rows = [head, [1, "2024-04-13", 1.5, "s", "first"]], [head, [2, "2024-04-14", 2.5, "m", "second"]]
    book = {name: Sheet(one) for name, one in zip(("January", "February"), rows, strict=True)}
    (site.home / f"{orders}.xlsx").write_bytes(written("xlsx", book))
    opened(page, orders, f"{orders}.xlsx")
    expect(row(page, "note").locator(".values")).to_contain_text("first")
    page.get_by_label("Sheet").select_option("February")
    expect(row(page, "note").locator(".values")).to_contain_text("second")


def test_saving_asks_which_arrivals_move(page: Any, site: Site, orders: str) -> None:
    names = ["newest", "stays", "pinned", "moves"]
    used = [orders, orders, f"{orders}:v3", f"{orders}:v3"]
    tables = (
        f'[[arrival]]\nname = "{name}"\nflow = "{flow}"\nfrom = "{name}/*.csv"\n'
        for name, flow in zip(names, used, strict=True)
    )
    (site.home / "arrivals.toml").write_text("".join(tables))
    while [one["name"] for one in site.ask("GET", "/v1/arrivals")["arrivals"]] != names:
        pass
    opened(page, orders, site.write(f"{orders}.csv", FOREIGN))
    decided(page)
    asked = page.get_by_role("group", name="Which arrivals use v4?")
    expect(asked.get_by_role("checkbox")).to_have_count(4)
    expect(asked.get_by_label(names[2])).not_to_be_checked()
    asked.get_by_label(names[1]).uncheck()
    asked.get_by_label(names[3]).check()
    assert saved(page, "v4") == "Succeeded"
    found = {one["name"]: one["flow"] for one in site.ask("GET", "/v1/arrivals")["arrivals"]}
    versions = (orders, f"{orders}:v3", f"{orders}:v3", f"{orders}:v4")
    assert found == dict(zip(names, versions, strict=True))


def test_a_decision_that_is_refused_is_taken_back(page: Any, site: Site, orders: str) -> None:
    opened(page, orders, site.write("refused.csv", FOREIGN))
    page.route(
        "**/proposals",
        lambda route: route.fulfill(
            status=422,
            content_type="application/problem+json",
            body=json.dumps(
                {"type": "urn:lume:problem:invalid-field", "detail": "choices: no", "status": 422}
            ),
        ),
    )
    page.get_by_label("Source of note").select_option("leave open")
    expect(page.locator(".notice.problem")).to_contain_text("choices: no")
    expect(page.get_by_label("Source of note")).not_to_have_value("[]")


def test_for_everybody(page: Any, site: Site, orders: str) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    opened(page, orders, site.write("everybody.csv", FOREIGN))
    read_from(page, "size", "Grösse")
    expect(page.get_by_label("Meaning of XL in size")).to_be_visible()
    page.get_by_role("button", name="Flag amount").click()
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator(".map-page .figures")).to_be_visible()
    page.get_by_text("Show the flow file").click()
    expect(page.get_by_label("The flow file")).to_contain_text("[columns.size]")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast", "link-in-text-block") == []
    fits(page, "the mapping")
    fits(page, "the mapping", 1280)
    assert violations(page) == []


def test_the_keyboard_is_enough(page: Any, site: Site, orders: str) -> None:
    opened(page, orders, site.write("keyboard.csv", FOREIGN))
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    source = page.get_by_label("Source of order_id")
    for _ in range(12):
        if source.evaluate("(node) => node === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(source).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Approve order_id")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Approve order_id")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Approve order_id")).to_be_focused()
    page.get_by_label("the month first").focus()
    page.keyboard.press("Space")
    expect(row(page, "ordered").locator(".values li").first).to_contain_text("2024-03-04")
    expect(page.get_by_label("the month first")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(row(page, "ordered").locator(".values li").first).to_contain_text("2024-04-03")
    expect(page.get_by_label("the day first")).to_be_focused()
    page.get_by_label("Source of note").focus()
    page.keyboard.press("End")
    expect(row(page, "note")).to_contain_text("Left open")
    expect(page.get_by_label("Source of note")).to_be_focused()


def test_text_of_the_file_is_only_text(page: Any, site: Site, orders: str) -> None:
    evil = "<img src=x onerror=pwned=1>"
    text = FOREIGN.replace("Bemerkung", evil).replace("XL", evil)
    opened(page, orders, site.write("evil.csv", text))
    read_from(page, "size", "Grösse")
    read_from(page, "note", evil)
    expect(page.get_by_label(f"Meaning of {evil} in size")).to_be_visible()
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_role("table", name="First rejected rows")).to_contain_text(evil)
    assert page.evaluate("typeof pwned") == "undefined"
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("is_uploaded", [False, True])
def test_a_file_that_was_put_aside_is_mapped_and_taken_again(
    page: Any, site: Site, tmp_path: Path, is_uploaded: bool
) -> None:
    """Its rows are read once, even if a person has uploaded a copy."""
    name = f"aside{int(is_uploaded)}"
    definition = tomllib.loads(ORDERS.replace('"orders"', f'"{name}"'))
    site.ask("PUT", f"/v1/flows/{name}/versions/v3", definition)
    (site.home / name).mkdir()
    used = f"{name}:v3" if is_uploaded else name
    (site.home / "arrivals.toml").write_text(
        f'[[arrival]]\nname = "{name}"\nflow = "{used}"\nfrom = "{name}/*.csv"\nready = {{ quiet = "100ms" }}\n'
        'failed = "quarantine/"\nafter = { move = "done/" }\n'
    )
    text = "Order-ID,ordered,amount,Size,note\n1,2024-04-13,1.5,s,a\n"
    site.write(f"{name}/odd.csv", text)
    aside = f"{name}/quarantine/odd.csv"
    while [one["lies_at"] for one in site.ask("GET", "/v1/arrivals?state=submitted")["files"]] != [aside]:
        pass
    page.get_by_role("link", name="Arrivals").click()
    files = page.get_by_role("region", name="Files").get_by_role("row")
    expect(files.filter(has_text="Failed")).to_contain_text(f"it lies at {aside}: ")
    files.get_by_role("link", name="Failed").click()
    expect(page.locator(".details")).to_contain_text(f"It lies at{aside}")
    page.get_by_role("link", name="Map this file").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Map odd.csv")
    page.get_by_role("table", name="Columns").first.wait_for()
    if is_uploaded:
        own = tmp_path / "own.csv"
        own.write_text(text)
        page.get_by_text("Add files").click()
        page.get_by_label("Files on this computer").set_input_files(own)
        page.get_by_role("button", name="Upload and map").click()
        page.get_by_role("link", name="Leave odd.csv out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Map own.csv")
    page.get_by_role("button", name="Save as v4 and take the file again").click()
    expect(files.filter(has_text="Succeeded")).to_contain_text(f"{name}/odd.csv")
    assert (site.home / name / "done/odd.csv").exists()
    runs = site.ask("GET", f"/v1/runs?flow={name}")["items"]
    assert [(one["flow_version"], one["status"], one["source_path"]) for one in runs] == [
        (f"{name}:v4", "SUCCEEDED", f"{name}/odd.csv"),
        (f"{name}:v3", "FAILED", f"{name}/odd.csv"),
    ]
