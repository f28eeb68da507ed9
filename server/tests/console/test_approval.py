"""Corrected rows that a second person approves: what each of the two sees."""

import re
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.http.access.test_keys import entry

from console.conftest import profile, signed_in_as, watched
from console.mending import NO_COUNTRY, definition, judged, open_rows, opened, rejecting, write
from console.site import running

pytestmark = pytest.mark.thorough

expect = package("playwright.sync_api").expect


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

            ann.reload()
            expect(ann.locator(".told")).to_contain_text("bob has sent back 2 rows: not row 2")
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
