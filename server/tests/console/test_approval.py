"""Corrected rows that a second person approves: what each of the two sees."""

import re
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.http.access.test_keys import entry
from local.workbooks import written

from console.conftest import profile, signed_in_as, watched
from console.mending import NO_COUNTRY, cell, definition, judged, open_rows, opened, rejecting, write
from console.site import running

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect

MIXED = """
flow = "mixed"
version = "v1"
[rejects]
approval = true
[columns.id]
type = "integer"
[columns.country]
enum = ["DE", "AT"]
[layouts.shop.columns]
id = '"No"'
country = '"Country"'
[layouts.feed.source]
format = "json"
[layouts.feed.columns]
id = '"id"'
country = { from = ["customer.country"] }
[layouts.book.source]
format = "excel"
[layouts.book.columns]
id = '"Nr"'
country = '"Land"'
"""
NO_CODE = "country: is not one of DE, AT"


def test_corrected_rows_wait_for_another_person(browser: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(entry("ann", "submit") + entry("bob", "submit") + entry("eve", "read"))
    with running(tmp_path, {}, keys=keys) as site, profile(browser) as one, profile(browser) as two:
        rejecting(site, "checked")
        v2 = definition("checked") | {"version": "v2", "rejects": {"approval": True}}
        site.ask("PUT", "/v1/flows/checked/versions/v2", v2)
        with watched(one.new_page()) as ann, watched(two.new_page()) as bob:
            signed_in_as(ann, site, "ann")
            signed_in_as(bob, site, "bob")
            opened(ann, "checked", reason=NO_COUNTRY)
            for row, value in ((1, "Germany"), (2, "France")):
                write(ann, row, "Country", value)
            judged(ann, "2 edited and saved: 2 would be accepted by checked:v2")
            ann.get_by_role("button", name="Submit 2 corrected rows").press("Enter")
            expect(ann.locator(".notice").last).to_contain_text("another person has to approve them")
            expect(ann.locator(".told")).to_contain_text("2 rows wait for another person's approval")

            bob.evaluate("location.hash = '#/inbox'")
            expect(bob.get_by_text("2 rows of ann wait for approval.")).to_be_visible()
            bob.get_by_role("link", name="Look at them").press("Enter")
            panel = bob.get_by_role("region", name="Approval")
            expect(panel.get_by_role("heading")).to_have_text("2 rows of ann wait for approval")
            expect(panel.get_by_role("listitem")).to_have_text(
                [re.compile("Country: Germny → Germany$"), re.compile("Country: Frnce → France$")]
            )
            expect(bob.get_by_role("grid")).to_have_attribute("aria-rowcount", "3")
            bob.set_viewport_size({"width": 390, "height": 800})
            assert bob.evaluate("document.documentElement.scrollWidth") <= 390
            send = panel.get_by_role("button", name="Send back")
            send.press("Enter")
            expect(bob.locator(".notice.problem")).to_contain_text("say what ann should change")
            panel.get_by_label("Comment").fill("not row 2")
            send.press("Enter")
            bob.get_by_role("heading", name="Inbox", level=1).wait_for()
            expect(bob.get_by_text("wait for approval")).to_have_count(0)

            told = ann.locator(".told")  # without a reload
            expect(told).to_contain_text("bob has sent back 2 rows: not row 2", timeout=20_000)
            judged(ann)
            write(ann, 2, "Country", "Frnce")
            judged(ann, "1 edited and saved: 1 would be accepted by checked:v2")
            ann.get_by_role("button", name="Submit 1 corrected row").press("Enter")
            expect(ann.locator(".told")).to_contain_text("1 row wait")

            with profile(browser) as three, watched(three.new_page()) as eve:
                signed_in_as(eve, site, "eve")
                eve.evaluate("location.hash = '#/inbox/checked?owner=ann'")
                theirs = eve.get_by_role("region", name="Approval")
                expect(theirs.get_by_role("listitem")).to_have_count(1)
                expect(theirs.get_by_role("button")).to_have_count(0)
            bob.evaluate("location.hash = '#/inbox/checked'")
            bob.get_by_role("button", name="Look at them").press("Enter")
            panel.get_by_role("button", name="Approve").press("Enter")
            expect(bob.locator(".notice").last).to_contain_text("1 row approved: run ")
            assert site.ask("GET", "/v1/audit?what=approve")["items"][0]["by"] == "bob"
            (run,) = site.ask("GET", "/v1/runs?flow_version=checked:v2")["items"]
            site.ended(run["id"])
            assert open_rows(site, "checked")[None] == 8
            assert run["submitted_by"] == "ann"


def test_rows_of_several_files_and_layouts_are_told_apart(browser: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(entry("ann", "submit") + entry("bob", "submit"))
    with (
        running(tmp_path, {"mixed.v1": MIXED}, keys=keys) as site,
        profile(browser) as one,
        profile(browser) as two,
        watched(one.new_page()) as ann,
        watched(two.new_page()) as bob,
    ):
        (tmp_path / "book.xlsx").write_bytes(written("xlsx", [["Nr", "Land"], [4, "Austria"], [5, "DE"]]))
        site.write(
            "feed.json",
            '[{"id": 3, "customer": {"country": "Austria"}}, {"id": 6, "customer": {"country": "DE"}}]',
        )
        site.write("shop.csv", "No,Customer,Country\n1,Ann,Germany\n2,Bob,DE,more\n7,Cy,DE\n")
        for name in ("shop.csv", "feed.json", "book.xlsx"):
            site.run("mixed:v1", name)
        signed_in_as(bob, site, "bob")
        bob.evaluate("location.hash = '#/inbox'")
        expect(bob.get_by_role("heading", name="mixed", exact=True)).to_be_visible()
        signed_in_as(ann, site, "ann")
        opened(ann, "mixed", reason=NO_CODE)
        ann.get_by_role("button", name="Similar values").click()
        column = ann.locator("select[name=column]")
        expect(column).to_have_value("Country")  # customer.country is not Customer
        ann.get_by_role("button", name="Find and replace").click()
        expect(column).to_have_value("Country")
        expect(cell(ann, 1, "Row")).to_have_text("line 2 · shop")
        expect(cell(ann, 3, "Row")).to_have_text("row 2 · book")
        for row, name, value in ((1, "Country", "DE"), (2, "customer.country", "AT"), (3, "Land", "AT")):
            write(ann, row, name, value)
        judged(ann, "3 would be accepted")
        opened(ann, "mixed", reason="malformed line: too many columns")
        expect(cell(ann, 1, "Row")).to_have_text("line 3 · shop")
        write(ann, 1, "Malformed line", "2,Bob,DE")
        judged(ann, "1 would be accepted")
        ann.get_by_role("button", name="Submit all 4 rows").click()

        expect(bob.get_by_text("4 rows of ann wait for approval.")).to_be_visible(timeout=20_000)
        bob.get_by_role("link", name="Look at them").click()
        panel = bob.get_by_role("region", name="Approval")
        expect(panel.get_by_role("listitem")).to_have_text(
            [
                "shop.csv, line 2 · shop, Country: Germany → DE",
                "shop.csv, line 3 · shop, Malformed line: 2,Bob,DE,more → 2,Bob,DE",
                "feed.json, $[0] · feed, customer.country: Austria → AT",
                "book.xlsx, row 2 · book, Land: Austria → AT",
            ]
        )
        panel.get_by_role("button", name="Approve").click()
        expect(bob.locator(".notice").last).to_contain_text("4 rows approved")
        acts = site.ask("GET", "/v1/audit?what=approve")["items"]
        assert len(acts) > 1
        assert sum(act["detail"]["rows"] for act in acts) == 4
        expect(ann.get_by_text("No row is open here.")).to_be_visible(timeout=20_000)
        bob.evaluate("location.hash = '#/runs'")
        expect(
            bob.get_by_role("link", name=re.compile(r"^corrections of \d rows? of \S+$")).first
        ).to_be_visible()
