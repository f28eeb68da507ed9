"""The inbox, and the grid in which rejected rows are mended."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.http.access.test_keys import entry

from console.conftest import profile, signed_in_as, watched
from console.mending import (
    NO_ADDRESS,
    NO_COUNTRY,
    TYPOS,
    cell,
    copied,
    judged,
    open_rows,
    opened,
    paste,
    rejecting,
    write,
)
from console.site import Site, running

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect


def test_the_inbox_says_what_is_open_and_what_is_new(page: Any, site: Site) -> None:
    rejecting(site, "first")
    page.evaluate("location.hash = '#/inbox'")
    page.get_by_role("heading", name="Inbox", level=1).wait_for()
    card = page.locator(".card", has=page.get_by_role("heading", name="first", exact=True))
    expect(card.locator(".figure", has_text="Open")).to_contain_text("9")
    expect(card.locator(".figure", has_text="New since yesterday")).to_contain_text("9")
    line = card.get_by_role("row").filter(has_text=NO_COUNTRY)
    expect(line).to_contain_text("+8")
    expect(
        card.get_by_role("img", name="Rejected rows of first by day: 9 rejected, 0 closed")
    ).to_be_visible()
    site.run("first:v1", site.write("first-2.csv", TYPOS))
    expect(card.locator(".figure", has_text="Open")).to_contain_text("18")
    page.get_by_label("Order").select_option("Oldest first")
    expect(page.get_by_label("Order")).to_have_value("oldest")
    line.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rejected rows of first")
    expect(page.get_by_label("Reason")).to_have_value(NO_COUNTRY)
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "17")
    page.get_by_label("Reason").select_option("")
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "19")


def test_a_flow_whose_rows_are_all_lost_is_in_the_inbox(page: Any, site: Site) -> None:
    run = site.ended(rejecting(site, "gone"))
    Path(run["metadata"]["target_locations"]["rejects"]).unlink()
    site.ask("GET", "/v1/rejects?flow=gone")
    page.evaluate("location.hash = '#/inbox'")
    card = page.locator(".card", has=page.get_by_role("heading", name="gone", exact=True))
    expect(card.locator(".figure", has_text="Open")).to_contain_text("0")
    expect(card.locator(".figure", has_text="Lost")).to_contain_text("9")
    card.get_by_role("button", name="Discard all rows …").click()
    page.get_by_label("Why nothing is left to do").fill("the file is gone")
    page.get_by_role("button", name="Discard them").click()
    expect(page.get_by_text("9 rows were discarded.")).to_be_visible()
    expect(card).to_have_count(0)


def test_a_row_is_judged_as_it_is_edited_and_submitted_with_the_others(page: Any, site: Site) -> None:
    rejecting(site, "edits")
    opened(page, "edits")
    expect(page.get_by_role("button", name="Submit 0 corrected rows")).to_be_disabled()
    expect(cell(page, 1, "Why")).to_have_text(NO_COUNTRY)
    write(page, 1, "Country", "Germany")
    expect(cell(page, 1, "Why")).to_have_text("✓ would be accepted")
    write(page, 9, "Email", "still nobody")
    expect(cell(page, 9, "Why")).to_have_text(NO_ADDRESS)
    write(page, 2, "Country", "Italy")
    judged(page)
    expect(cell(page, 2, "Why")).to_have_text(NO_COUNTRY)
    assert open_rows(site, "edits")[None] == 9, "nothing is submitted yet"
    page.get_by_role("button", name="Submit 1 corrected row").click()
    expect(page.get_by_text("has ended SUCCEEDED: 1 row accepted.")).to_be_visible()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "9")
    expect(cell(page, 1, "Country")).to_have_text("Italy")
    assert open_rows(site, "edits") == {None: 8, NO_COUNTRY: 7, NO_ADDRESS: 1}
    expect(page.get_by_label("Reason").locator("option").first).to_have_text("All reasons (8)")


def test_the_same_change_for_all_rows_with_that_value(page: Any, site: Site) -> None:
    rejecting(site, "alike")
    opened(page, "alike", reason=NO_COUNTRY)
    write(page, 1, "Country", "Germany")
    expect(page.get_by_text("3 other rows have “Germny” in Country.")).to_be_visible()
    page.get_by_role("button", name="Change all to “Germany”").click()
    judged(page, "4 edited and saved: 4 would be accepted by alike:v1")
    page.get_by_role("grid").focus()
    page.keyboard.press("Control+z")
    expect(cell(page, 3, "Country")).to_have_text("Germny")
    expect(cell(page, 1, "Country")).to_have_text("Germany")
    page.keyboard.press("Control+y")
    expect(cell(page, 3, "Country")).to_have_text("Germany")
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    judged(page, "Double-click or press Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    assert site.ask("GET", "/v1/drafts/alike")["rows"] == 0


def test_find_and_replace_in_a_column(page: Any, site: Site) -> None:
    rejecting(site, "finding")
    opened(page, "finding")
    cell(page, 1, "Country").click()
    page.get_by_role("button", name="Find and replace").click()
    expect(page.get_by_label("Column")).to_have_value("Country")
    page.get_by_label("Find", exact=True).fill("GERMNY")
    page.get_by_label("Replace with").fill("Germany ($&)")
    expect(page.get_by_text("4 cells in Country")).to_be_visible()
    page.get_by_label("Match case").check()
    expect(page.get_by_role("button", name="Replace all", exact=True)).to_be_visible()
    page.get_by_label("Match case").uncheck()
    page.get_by_role("button", name="Find next").click()
    expect(page.locator(".sheet-cell.at")).to_have_text("Germny")
    page.get_by_role("button", name="Replace all (4)").click()
    expect(cell(page, 1, "Country")).to_have_text("Germany ($&)")
    page.get_by_label("Find", exact=True).fill("")
    page.get_by_label("Whole cell").check()
    expect(page.get_by_text("0 cells in Country", exact=True)).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("grid")).to_be_focused()
    judged(page)


def test_cells_are_filled_copied_and_pasted_as_in_a_spreadsheet(page: Any, site: Site) -> None:
    rejecting(site, "pasted")
    opened(page, "pasted")
    cell(page, 1, "Country").click()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    assert copied(page) == "Germny\nFrnce\nGermny\nFrnce"
    paste(page, "Germany")
    expect(cell(page, 4, "Country")).to_have_text("Germany")
    cell(page, 5, "Country").click()
    paste(page, 'Germany\t"two\nlines"\nFrance\t\'=sum(1)\n')
    expect(cell(page, 5, "Note")).to_have_text("two↵lines")
    expect(cell(page, 6, "Country")).to_have_text("France")
    expect(cell(page, 6, "Note")).to_have_text("=sum(1)")
    cell(page, 6, "Note").click()
    assert copied(page) == "'=sum(1)", "a spreadsheet would calculate it"
    cell(page, 5, "Note").click()
    assert copied(page, "cut") == '"two\nlines"'
    expect(cell(page, 5, "Note")).to_have_text("")
    write(page, 7, "Country", "France")
    cell(page, 7, "Country").click()
    cell(page, 8, "Country").click(modifiers=["Shift"])
    page.keyboard.press("Control+d")
    expect(cell(page, 8, "Country")).to_have_text("France")
    page.keyboard.press("Delete")
    expect(cell(page, 7, "Country")).to_have_text("")
    judged(page)
    stored = {row["row"]: row["cells"] for row in site.ask("GET", "/v1/drafts/pasted")["items"]}
    assert stored[5] == {"Country": "Germany", "Note": None}
    assert stored[6] == {"Country": "France", "Note": "=sum(1)"}


def test_what_is_exported_has_texts_and_no_formulas(page: Any, site: Site) -> None:
    rejecting(site, "exported")
    opened(page, "exported", reason=NO_ADDRESS)
    with page.expect_download() as download:
        page.get_by_role("button", name="As .xlsx").click()
    content = download.value.path().read_bytes()
    assert b'<c t="inlineStr"><is><t xml:space="preserve">=1+2</t>' in content
    assert b"<f>" not in content


def test_what_is_exported_and_corrected_closes_its_rows(page: Any, site: Site) -> None:
    run_id = rejecting(site, "returned")
    opened(page, "returned")
    write(page, 1, "Country", "Germany")
    judged(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="As .xlsx").click()
    download.value.save_as(site.home / "returned.xlsx")
    mended = site.ended(site.run("returned:v1", "returned.xlsx", run_metadata={"resubmit_of": run_id}))
    assert mended["metadata"]["metrics"]["rows_mapped"] == 1, mended
    (flow,) = [one for one in site.ask("GET", "/v1/inbox")["flows"] if one["flow"] == "returned"]
    assert flow["open"] == 8, "a row was counted as an additional one"


def test_a_tab_that_was_closed_loses_nothing(page: Any, signed: Any, site: Site) -> None:
    rejecting(site, "closed")
    opened(page, "closed")
    write(page, 1, "Country", "Germany")
    page.evaluate("location.hash = '#/inbox'")  # before the pause after an edit is over
    with watched(signed.new_page()) as other:
        other.goto(site.url)
        other.get_by_role("heading", name="Overview").wait_for()
        opened(other, "closed", reason=NO_ADDRESS)
        expect(other.get_by_role("button", name="Submit all 1 row")).to_be_enabled()
        opened(other, "closed")
        expect(cell(other, 1, "Country")).to_have_text("Germany")
        expect(cell(other, 1, "Why")).to_have_text("✓ would be accepted")
        other.get_by_role("button", name="Remove my edits").click()
        other.get_by_role("button", name="Remove them").click()
        expect(cell(other, 1, "Country")).to_have_text("Germny")
    assert site.ask("GET", "/v1/drafts/closed")["rows"] == 0


@pytest.mark.parametrize(("choice", "kept"), [("Keep mine", "France"), ("Show theirs", "Germany")])
def test_two_tabs_with_the_same_row(page: Any, signed: Any, site: Site, choice: str, kept: str) -> None:
    flow = f"tabs{kept}"
    rejecting(site, flow)
    opened(page, flow)
    with watched(signed.new_page()) as other:
        other.goto(site.url)
        other.get_by_role("heading", name="Overview").wait_for()
        opened(other, flow)
        write(other, 1, "Country", "Germany")
        judged(other)
    write(page, 1, "Country", "France")
    expect(page.get_by_text("1 row of your draft was changed in another tab")).to_be_visible()
    page.get_by_role("button", name=choice).click()
    expect(cell(page, 1, "Country")).to_have_text(kept)
    judged(page)
    (stored,) = site.ask("GET", f"/v1/drafts/{flow}")["items"]
    assert stored["cells"] == {"Country": kept}


def test_whatever_the_network_does_the_rows_are_submitted_once(page: Any, site: Site) -> None:
    rejecting(site, "network")
    opened(page, "network")
    tries = []

    def lose(route: Any) -> None:
        tries.append(route.request.post_data)
        if len(tries) < 3:
            route.fetch()  # the server gets it, and its answer is lost
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/drafts/network", lambda route: route.abort())
    write(page, 1, "Country", "Germany")
    expect(page.locator(".state")).to_contain_text("The server can't be reached")
    page.unroute("**/v1/drafts/network")
    judged(page)
    page.route("**/submit", lose)
    page.get_by_role("button", name="Submit 1 corrected row").click()
    expect(page.get_by_text("1 row submitted as run")).to_be_visible()
    assert len(tries) == 3
    assert len({json.dumps(one) for one in tries}) == 1
    mends = [
        run
        for run in site.ask("GET", "/v1/runs?flow=network")["items"]
        if "mend" in (run["run_metadata"] or {})
    ]
    assert len(mends) == 1
    assert open_rows(site, "network")[None] == 8


def test_malformed_lines_are_mended_as_text(page: Any, site: Site) -> None:
    rejecting(site, "lines", TYPOS + "12\n")
    opened(page, "lines", reason="malformed line: too few columns")
    expect(cell(page, 1, "Row")).to_contain_text("line 12")
    write(page, 1, "Malformed line", "12,l@b.org,France,ok")
    expect(cell(page, 1, "Why")).to_have_text("✓ would be accepted")
    page.get_by_role("button", name="Submit 1 corrected row").click()
    expect(page.get_by_text("No row is open here.")).to_be_visible()


def test_a_row_that_is_saved_while_another_is_judged_is_judged_too(page: Any, site: Site) -> None:
    rejecting(site, "slowly")
    opened(page, "slowly")
    held: list[Any] = []

    def hold(route: Any) -> None:
        if held:
            return route.continue_()
        held.append((route, route.fetch()))
        return None

    page.route("**/judge", hold)
    with page.expect_response("**/v1/drafts/slowly"):
        write(page, 1, "Country", "Germany")
    while not held:
        page.wait_for_timeout(10)
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        write(page, 2, "Country", "Germany")
    ((route, answer),) = held
    route.fulfill(response=answer)
    expect(cell(page, 2, "Why")).to_have_text("✓ would be accepted")


def test_the_rows_that_are_shown_can_be_chosen(page: Any, site: Site) -> None:
    rejecting(site, "chosen")
    grid = opened(page, "chosen")
    write(page, 1, "Country", "Germany")
    write(page, 2, "Country", "Italy")
    judged(page)
    for name, count in {
        "Edited": 2,
        "Would be accepted": 1,
        "Edited, still rejected": 1,
        "Not edited": 7,
    }.items():
        page.get_by_label("Rows that are shown").select_option(name)
        expect(grid).to_have_attribute("aria-rowcount", str(count + 1))


def test_people_are_told_of_each_other_and_who_only_reads_edits_nothing(browser: Any, tmp_path: Any) -> None:
    (tmp_path / "keys.toml").write_text(
        entry("ann", "submit") + entry("bob", "submit") + entry("eve", "read")
    )
    with running(tmp_path, {}, keys=tmp_path / "keys.toml") as site, profile(browser) as hers:
        rejecting(site, "shared")
        with profile(browser) as his, profile(browser) as only:
            ann, bob, eve = (
                signed_in_as(one.new_page(), site, name)
                for one, name in ((hers, "ann"), (his, "bob"), (only, "eve"))
            )
            opened(ann, "shared")
            opened(bob, "shared")
            write(ann, 1, "Country", "Germany")
            judged(ann)
            write(bob, 1, "Country", "France")
            expect(
                bob.get_by_text("ann is editing 1 row of these (✎). You are also editing 1 of them")
            ).to_be_visible()
            judged(bob)
            ann.get_by_role("button", name="Submit 1 corrected row").click()
            expect(ann.get_by_text("has ended SUCCEEDED")).to_be_visible()
            opened(bob, "shared", reason=NO_COUNTRY)
            expect(
                bob.get_by_text("1 row of your draft is no longer open: was mended by run_")
            ).to_be_visible()
            bob.get_by_role("button", name="Remove these edits").click()
            expect(bob.get_by_text("no longer open")).to_have_count(0)
            opened(eve, "shared")
            expect(eve.get_by_text("Correcting them takes a key with the role submit")).to_be_visible()
            expect(eve.get_by_role("button", name="Submit")).to_have_count(0)
            expect(eve.get_by_role("button", name="Undo")).to_have_count(0)
            cell(eve, 1, "Country").dblclick()
            expect(eve.locator(".sheet-field")).to_have_count(0)


ROWS = 20_000


def steps_of_scripts(page: Any, during: Callable[[], None]) -> int:
    """How often any block of any script ran: the same on a busy machine, unlike the time that it took."""
    profiler = page.context.new_cdp_session(page)
    profiler.send("Profiler.enable")
    profiler.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
    during()
    scripts = profiler.send("Profiler.takePreciseCoverage")["result"]
    profiler.detach()
    return sum(
        block["count"]
        for script in scripts
        for function in script["functions"]
        for block in function["ranges"]
    )


def edits(page: Any, row: int) -> None:
    """What a person does with many rows, from this one on; all is as before afterwards."""
    page.get_by_role("grid").focus()
    page.keyboard.press("Control+End")
    expect(page.locator(f"[aria-rowindex='{ROWS + 1}']")).to_be_visible()
    page.keyboard.press("Control+Home")
    cell(page, row, "Country").click()
    for _ in range(5):
        page.keyboard.press("Enter")
        page.keyboard.insert_text("Germany")
        page.keyboard.press("Enter")
    cell(page, row, "Country").click()
    page.keyboard.press("Delete")
    write(page, row, "Country", "Italy")
    write(page, row + 6, "Country", "Germany")
    page.get_by_role("button", name="Change all to").click()
    page.keyboard.press("PageDown")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+y")
    for _ in range(9):
        page.keyboard.press("Control+z")


@pytest.mark.timeout(180)
def test_no_edit_of_20_000_rows_waits(page: Any, site: Site) -> None:
    lines = (f"{n},a{n}@b.org,{'Germny' if n % 2 else 'Frnce'},note {n}\n" for n in range(ROWS))
    rejecting(site, "crowd", f"id,Email,Country,Note\n10000000,good@b.org,Germany,x\n{''.join(lines)}")
    page.set_default_timeout(60_000)
    grid = opened(page, "crowd")
    expect(grid).to_have_attribute("aria-rowcount", str(ROWS + 1), timeout=60_000)
    expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=60_000)
    assert page.locator("[role=gridcell]").count() < 500, "only what is seen is in the page"
    # About thirty edits, each with two or three looks at all rows: a pass takes a few milliseconds.
    assert ROWS < steps_of_scripts(page, lambda: edits(page, 1)) < 60 * ROWS
    write(page, 1, "Country", "Germany")
    page.get_by_role("button", name="Change all to").click()
    judged(page)
    assert site.ask("GET", "/v1/drafts/crowd?limit=1")["rows"] == ROWS / 2


def test_a_repair_is_suggested_looked_at_and_applied(page: Any, site: Site) -> None:
    rejecting(site, "suggested", TYPOS + "12, A@b.org,france ,spaces\n")
    opened(page, "suggested")
    cell(page, 1, "Country").click()
    page.get_by_role("button", name="Suggest").click()
    form = page.get_by_role("form", name="Suggest repairs")
    expect(form.get_by_label("Reason")).to_have_value(NO_COUNTRY)
    expect(form.get_by_label("Column")).to_have_value("Country")
    form.get_by_role("button", name="Look for repairs").click()
    expect(form.get_by_text("the nearest allowed value")).to_be_visible()
    expect(form.locator(".suggestion")).to_contain_text("Germny → Germany, Frnce → France, france  → France")
    form.get_by_role("button", name="Apply to 9 rows").click()
    judged(page, "9 edited and saved: 9 would be accepted by suggested:v1")
    page.get_by_role("button", name="Undo").click()
    expect(cell(page, 1, "Country")).to_have_text("Germny")
    form.get_by_label("Column").select_option("Note")
    form.get_by_role("button", name="Look for repairs").click()
    expect(form.get_by_text("The flow rejects every repair of 9 values.")).to_be_visible()
    form.get_by_role("button", name="Put it into the flow").click()
    page.wait_for_url(re.compile(r"#/map/suggested\?file=upload%3A%2F%2Finbox-"))


def test_rejected_rows_on_the_map_page_are_replayed_and_no_source_of_their_own(page: Any, site: Site) -> None:
    rejecting(site, "sampled")
    opened(page, "sampled", reason=NO_COUNTRY)
    page.get_by_role("button", name="Suggest").click()
    page.get_by_role("form", name="Suggest repairs").get_by_role("button", name="Put it into").click()
    page.get_by_label("Source of country").wait_for(timeout=60_000)
    # The version reads such rows already: they are replayed, not run.
    expect(page.get_by_role("button", name="Replay the open rows with sampled:v1")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Run |run the file"))).to_have_count(0)
    page.get_by_label("Source of country").select_option("leave open")
    page.get_by_role("button", name="Save as v2", exact=True).click(timeout=60_000)
    again = page.get_by_role("button", name="Replay the open rows with sampled:v2")
    expect(again).to_be_focused(timeout=60_000)
    assert open_rows(site, "sampled")[None] == 9
    again.press("Enter")
    page.wait_for_url(re.compile(r"#/runs\?flow=sampled%3Av2"))
    (run,) = site.ask("GET", "/v1/runs?flow_version=sampled:v2")["items"]
    assert run["source_path"].startswith("upload://lume-replay-")
    assert run["run_metadata"]["replay"]["rows"] == 9
    expect(page.get_by_role("link", name=re.compile(r"^replay of 9 rows of \S+$"))).to_be_visible()


def test_all_spellings_of_a_value_are_changed_at_once(page: Any, site: Site) -> None:
    rejecting(
        site, "clusters", TYPOS + "12,x@b.org,GERMANY,a\n13,y@b.org,germany ,a\n14,z@b.org,fr-ance,A.\n"
    )
    opened(page, "clusters", reason=NO_COUNTRY)
    page.get_by_label("Rows that are shown").select_option("edited")
    page.get_by_role("button", name="Similar values").click()
    panel = page.get_by_role("region", name="Similar values")
    expect(panel.get_by_label("Column")).to_be_focused()
    expect(panel.get_by_label("Column")).to_have_value("Country")
    expect(panel.get_by_role("status")).to_have_text("3 spellings of 2 values")
    germany = panel.get_by_role("form", name="Cluster Germany")
    expect(germany).to_contain_text("GERMANY (1) germany  (1)")
    expect(germany.get_by_label("Allowed value")).to_have_value("Germany")
    germany.get_by_label("Allowed value").press("Enter")
    expect(panel.get_by_role("status")).to_have_text("1 spelling of 1 value")
    expect(panel.get_by_label("Allowed value")).to_be_focused()
    judged(page, "2 edited and saved: 2 would be accepted by clusters:v1")
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Similar values").click()
    page.get_by_role("button", name="Similar values").click()
    panel.get_by_role("button", name="Change all clusters").click()
    expect(panel.get_by_role("status")).to_have_text("No values look alike.")
    expect(page.get_by_role("grid")).to_be_focused()
    judged(page, "3 edited and saved: 3 would be accepted by clusters:v1")
    panel.get_by_label("Column").select_option("Note")
    expect(panel.get_by_role("form", name="Cluster a")).to_contain_text("a (2) A. (1)")
    panel.get_by_label("Most frequent").fill("b")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    panel.get_by_role("button", name="Change 3 rows").click()
    expect(panel.get_by_role("status")).to_have_text("No values look alike.")
    judged(page)
    stored = {one["row"]: one["cells"] for one in site.ask("GET", "/v1/drafts/clusters")["items"]}
    assert stored[10] == {"Country": "Germany", "Note": "b"}


def test_edits_are_saved_as_a_rule_of_the_next_version(page: Any, site: Site) -> None:
    rejecting(site, "ruled")
    opened(page, "ruled", reason=NO_COUNTRY)
    page.get_by_role("button", name="Save as a rule").click()
    panel = page.get_by_role("form", name="Save edits as a rule")
    expect(panel).to_contain_text("Edit some values first")
    expect(panel.get_by_role("button", name="Try the rule")).to_be_disabled()
    for row, value in ((1, "Germany"), (2, "France"), (3, "Germany"), (4, "Italy")):
        write(page, row, "Country", value)
    judged(page)
    for _ in range(2):
        page.get_by_role("button", name="Save as a rule").click()
    expect(panel.get_by_label("Column")).to_have_value("Country")
    expect(panel.get_by_role("status")).to_contain_text("Germny → Germany")
    expect(panel.get_by_role("status")).to_contain_text("changed differently: Frnce → France or Italy")
    panel.get_by_role("button", name="Try the rule").press("Enter")
    expect(panel).to_contain_text("ruled:v2 would accept 4 of 8 open rows, as they are.")
    expect(panel.locator(".diff .added").last).to_contain_text("WHEN 'Germny' THEN 'Germany'")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download the flow file").click()
    assert download.value.suggested_filename == "ruled.v2.toml"
    text = download.value.path().read_text()
    panel.get_by_role("button", name="Save as v2").click()
    expect(panel).to_contain_text("ruled:v2 is saved, and judges the rows from now on: submit")
    judged(page, "4 edited and saved: 3 would be accepted by ruled:v2")
    saved = site.ask("GET", "/v1/flows/ruled/versions/v2")["definition"]
    assert saved == tomllib.loads(text)
    assert saved["columns"]["country"]["enum"] == ["Germany", "France"]
    expect(panel.get_by_role("button", name="Replay the open rows")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Runs", level=1)).to_be_visible()
    (run,) = site.ask("GET", "/v1/runs?flow_version=ruled:v2")["items"]
    site.ended(run["id"])
    assert open_rows(site, "ruled") == {None: 5, NO_COUNTRY: 4, NO_ADDRESS: 1}


def test_rows_are_assigned_and_found_by_their_assignee(page: Any, site: Site) -> None:
    rejecting(site, "assigned")
    rejecting(site, "nobodys")
    opened(page, "assigned", reason=NO_COUNTRY)
    cell(page, 2, "Country").click()
    page.keyboard.press("Shift+ArrowDown")
    page.get_by_role("button", name="Assign rows").click()
    panel = page.get_by_role("form", name="Assign rows")
    expect(panel.get_by_label("Assignee")).to_have_value("server")
    panel.get_by_label("Assignee").fill("ann")
    panel.get_by_label("Comment").fill("asked the supplier")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    panel.get_by_role("button", name="Assign 2 rows").click()
    expect(page.get_by_text("2 rows assigned to ann.")).to_be_visible()
    expect(cell(page, 2, "Row")).to_have_text("line 3 @ann ✉")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("location.hash = '#/inbox?order=oldest'")
    others = page.get_by_role("heading", name="nobodys", exact=True)
    expect(others).to_be_visible()
    page.get_by_label("Assigned to").select_option("ann")
    expect(others).to_have_count(0)
    card = page.locator(".card", has=page.get_by_role("heading", name="assigned", exact=True))
    expect(card.get_by_role("row")).to_have_count(2)
    expect(page.get_by_text("2 of ")).to_have_text(
        re.compile(r"^2 of [\d,]+ open rejected rows are assigned to ann\.$")
    )
    expect(card.locator(".figure")).to_have_text("Open2")
    expect(page.get_by_label("Order")).to_have_value("oldest")
    card.get_by_role("link", name=NO_COUNTRY).click()
    expect(page.get_by_text("Only rows of ann")).to_be_visible()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "3")
    expect(cell(page, 1, "Row")).to_have_attribute("title", re.compile("assigned to ann: asked the supplier"))
    page.get_by_label("Reason").select_option("")
    expect(page.get_by_text("Only rows of ann")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "10")
    cell(page, 2, "Country").click()
    page.get_by_role("button", name="Assign rows").click()
    expect(panel.get_by_label("Comment")).to_have_value("asked the supplier")
    panel.get_by_label("Assignee").fill("")
    panel.get_by_label("Comment").fill("")
    panel.get_by_label("Comment").press("Enter")
    expect(page.get_by_text("1 row assigned.")).to_be_visible()
    assert [row["id"] for row in site.ask("GET", "/v1/rejects?assignee=ann")["items"]] == ["3"]


def test_rows_are_assigned_to_a_person_of_the_server_by_the_name_alone(visitor: Any, site: Site) -> None:
    rejecting(site, "hers")
    site.ask("POST", "/v1/rejects/assign", {"flow": "hers", "reason": NO_ADDRESS, "assignee": "carol"})
    token = site.ask("POST", "/console/links", {"name": "carol"})["token"]
    visitor.goto(f"{site.url}/#token={token}")
    visitor.get_by_role("heading", name="Overview").wait_for()
    visitor.evaluate("location.hash = '#/inbox'")
    choice = visitor.get_by_label("Assigned to").locator("option")
    expect(choice.filter(has_text="me (")).to_have_text(["me (server:carol)", "me (carol)"])


def test_rows_are_discarded_with_the_reason(page: Any, site: Site) -> None:
    rejecting(site, "discarding")
    grid = opened(page, "discarding")
    write(page, 1, "Country", "Germany")
    judged(page)
    cell(page, 1, "Country").click()
    cell(page, 3, "Country").click(modifiers=["Shift"])
    page.get_by_role("button", name="Discard rows").click()
    page.get_by_label("Why nothing is left to do about 3 rows").fill("a test of the supplier")
    page.get_by_role("button", name="Discard 3 rows").click()
    expect(page.get_by_text("3 rows were discarded.")).to_be_visible()
    expect(grid).to_have_attribute("aria-rowcount", "7")
    expect(page.get_by_label("Reason").locator("option").first).to_have_text("All reasons (6)")
    assert open_rows(site, "discarding")[None] == 6
    assert site.ask("GET", "/v1/drafts/discarding")["rows"] == 0
