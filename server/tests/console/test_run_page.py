"""One run: what is shown of it, and everything that a person can do with it."""

import hashlib
import http.server
import io
import itertools
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.http.access.test_keys import entry

from console.conftest import profile, signed_in, signed_in_as
from console.site import GOOD, MIXED, Site, running, usual

expect = package("playwright.sync_api").expect


def open_run(page: Any, run_id: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", f"#/runs/{run_id}")
    page.locator("header.head", has_text=run_id.removeprefix("run_")[:8]).wait_for()


def shown_run(page: Any) -> str:
    return str(page.url.partition("#/runs/")[2])


def rows(page: Any, name: str) -> Any:
    return page.get_by_role("table", name=name).locator("tbody tr")


@pytest.mark.thorough
def test_what_is_shown_of_a_run(page: Any, site: Site) -> None:
    run_id = site.run("people:v1", site.write("shown.csv", MIXED), run_metadata={"ticket": "A-1"})
    open_run(page, run_id)
    expect(page.get_by_role("heading", level=1)).to_have_text("shown.csv")
    expect(page.locator(".figures")).to_contain_text("Rejected")
    expect(page.locator(".figures")).to_contain_text("66.7 %")
    life = page.locator(".timeline")
    for stage in ("Waiting", "Reading source", "Transforming", "Writing target", "Partial"):
        expect(life).to_contain_text(stage)
    expect(page.get_by_text('"ticket": "A-1"')).to_be_visible()
    rejected = rows(page, "Rejected rows")
    expect(rejected).to_have_count(2)
    expect(rejected.first).to_contain_text("id: is not a valid integer")
    expect(rejected.first).to_contain_text("email: is not an email address")
    expect(rejected.first.locator("td.blamed")).to_have_text(["x", "y"])
    expect(rejected.last.locator("td.blamed")).to_have_text(["200"])
    expect(rows(page, "First mapped rows")).to_have_count(1)
    expect(rows(page, "First mapped rows")).to_contain_text("a@b.org")
    held = rows(page, "Columns of the mapped rows")
    expect(held.filter(has_text="age")).to_have_text("age1055")


def test_a_reason_shows_its_rows(page: Any, site: Site) -> None:
    open_run(page, site.run("people:v1", site.write("reasons.csv", MIXED)))
    reason = page.get_by_role("link", name=re.compile("age: is above 150"))
    reason.click()
    expect(rows(page, "Rejected rows")).to_have_count(1)
    expect(rows(page, "Rejected rows")).to_contain_text("200")
    expect(reason).to_have_attribute("aria-current", "true")
    reason.click()
    expect(rows(page, "Rejected rows")).to_have_count(2)


@pytest.mark.thorough
def test_who_only_reads_is_offered_nothing_else(browser: Any, tmp_path: Any) -> None:
    (tmp_path / "keys.toml").write_text(entry("eve", "read"))
    with running(tmp_path, usual(tmp_path), keys=tmp_path / "keys.toml") as site, profile(browser) as only:
        run = site.run("people:v1", site.write("read.csv", MIXED))
        page = signed_in_as(only.new_page(), site, "eve")
        open_run(page, run)
        expect(page.get_by_role("button", name="Download rejects")).to_be_visible()
        expect(page.locator("header.head").get_by_role("button")).to_have_count(0)


@pytest.mark.thorough
def test_of_many_reasons_all_but_the_commonest_are_folded(page: Any, site: Site) -> None:
    names = [f"n{number:02}" for number in range(14)]
    columns = {name: {"type": "integer"} for name in names}
    site.ask("PUT", "/v1/flows/wide/versions/v1", {"flow": "wide", "version": "v1", "columns": columns})
    lines = [[*"x" * 14], [*"x" * 10, *"1234"], [*"1" * 14]]
    text = "\n".join(map(",".join, [names, *lines]))
    open_run(page, site.run("wide:v1", site.write("wide.csv", text)))
    rare = page.get_by_role("link", name=re.compile("n13: "))
    expect(rare).to_be_hidden()
    page.get_by_text("4 more reasons").click()
    rare.click()
    expect(rows(page, "Rejected rows")).to_have_count(1)
    page.reload()
    expect(rare).to_have_attribute("aria-current", "true")
    expect(rare).to_be_visible()


@pytest.mark.thorough
def test_numbers_keep_their_digits(page: Any, site: Site) -> None:
    payments = {
        "flow": "payments",
        "version": "v1",
        "source": {"format": "ndjson"},
        "columns": {"id": {"type": "integer"}, "paid": {}},
    }
    site.ask("PUT", "/v1/flows/payments/versions/v1", payments)
    lines = (f'{{"id": "x", "paid": {paid}}}\n' for paid in ("12345678901234567890.12", "1.50", "2e400"))
    open_run(page, site.run("payments:v1", site.write("payments.ndjson", "".join(lines) + '{"id": 1}\n')))
    for number, paid in enumerate(("12345678901234567890.12", "1.5", "2e400")):
        expect(rows(page, "Rejected rows").nth(number)).to_contain_text(paid)


@pytest.mark.thorough
def test_many_rejected_rows_come_page_by_page(page: Any, site: Site) -> None:
    text = "id,Email,Age\n0,a@b.org,1\n" + "".join(f"{n},nobody,{n}\n" for n in range(1, 61))
    open_run(page, site.run("people:v1", site.write("many.csv", text)))
    shown = rows(page, "Rejected rows")
    expect(shown).to_have_count(25)
    page.get_by_role("button", name="More rows").click()
    expect(page.get_by_text("Rows 26 to 50")).to_be_visible()
    expect(shown).to_have_count(25)
    page.get_by_role("button", name="More rows").click()
    expect(shown).to_have_count(10)
    page.get_by_role("button", name="First rows").click()
    expect(page.get_by_text("Rows 1 to 25")).to_be_visible()


@pytest.mark.thorough
def test_a_run_is_cancelled(page: Any, site: Site) -> None:
    run_id = site.submit("slow:v1", "slow.csv")
    open_run(page, run_id)
    badge = page.locator(".badge")
    expect(badge).to_contain_text("Transforming")
    page.get_by_role("button", name="Cancel").click()
    expect(badge).to_have_text("Cancelled")
    expect(page.get_by_role("alert")).to_contain_text("cancelled by request")
    assert site.ended(run_id)["status"] == "CANCELLED"
    expect(page.get_by_role("button", name="Run again", exact=True)).to_be_visible()


@pytest.mark.thorough
def test_a_run_gets_on_while_one_looks(page: Any, site: Site) -> None:
    run_id = site.submit("slow:v1", "slow.csv")
    asked = itertools.count(1)

    def further(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "progress": min(next(asked), 99) / 100})

    page.route(f"**/v1/runs/{run_id}", further)
    open_run(page, run_id)
    expect(page.locator(".badge")).to_contain_text("Transforming")
    for share in ("2.0 %", "3.0 %"):
        expect(page.locator(".badge")).to_contain_text(share)
    page.unroute_all(behavior="ignoreErrors")
    site.ask("POST", f"/v1/runs/{run_id}/cancel")
    expect(page.locator(".badge")).to_have_text("Cancelled")


@pytest.mark.thorough
def test_a_failed_run_is_run_again(page: Any, site: Site) -> None:
    failed = site.run("people:v1", "late.csv", run_metadata={"ticket": "B-2"})
    open_run(page, failed)
    expect(page.get_by_role("alert")).to_contain_text("late.csv")
    site.write("late.csv", GOOD)
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.locator(".badge")).to_have_text("Succeeded")
    again = site.ask("GET", f"/v1/runs/{shown_run(page)}")
    assert (again["source_path"], again["run_metadata"]) == ("late.csv", {"ticket": "B-2"})
    assert again["id"] != failed
    assert again["force_rerun"] is False


@pytest.mark.thorough
def test_a_source_that_was_processed_is_processed_again_only_if_one_says_yes(page: Any, site: Site) -> None:
    first = site.run("people:v1", site.write("twice.csv", GOOD))
    open_run(page, first)
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.locator(".notice.problem")).to_contain_text("has processed 'twice.csv'")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".notice")).to_have_count(0)
    forced = page.get_by_role("button", name="Run again, forced")
    forced.click()
    dialog = page.get_by_role("dialog", name="Run again, forced?")
    expect(dialog).to_contain_text("twice.csv")
    dialog.get_by_role("button", name="Back").click()
    expect(dialog).to_have_count(0)
    assert len(site.ask("GET", "/v1/runs?source_path=twice.csv")["items"]) == 1
    forced.click()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    forced.click()
    dialog.get_by_role("button", name="Process it again").click()
    expect(dialog).to_have_count(0)
    page.wait_for_url(lambda url: first not in url)
    again = site.ended(shown_run(page))
    assert (again["status"], again["force_rerun"], again["source_path"]) == ("SUCCEEDED", True, "twice.csv")


@pytest.mark.thorough
def test_outputs_are_downloaded_and_mended_rejects_sent(page: Any, site: Site, tmp_path: Path) -> None:
    run_id = site.run("people:v1", site.write("mend.csv", MIXED), run_metadata={"ticket": "C-3"})
    places = site.ask("GET", f"/v1/runs/{run_id}")["metadata"]["target_locations"]
    open_run(page, run_id)
    for which in ("mapped", "rejects"):
        with page.expect_download() as started:
            page.get_by_role("button", name=f"Download {which}").click()
        assert started.value.suggested_filename.startswith(f"{run_id}-{which}.")
        assert Path(started.value.path()).read_bytes() == Path(places[which]).read_bytes()
    mended = tmp_path / "mended.csv"
    text = Path(places["rejects"]).read_text()
    assert (",x,y,6" in text, ",200" in text) == (True, True)
    mended.write_text(text.replace(",x,y,6", ",2,y@z.org,6").replace(",200", ",20"))
    page.get_by_role("button", name="Send corrected rejects").click()
    dialog = page.get_by_role("dialog", name="Send corrected rejects")
    dialog.get_by_label("Corrected file").set_input_files(mended)
    dialog.get_by_role("button", name="Send").click()
    expect(page.locator(".badge")).to_have_text("Succeeded")
    page.wait_for_url(lambda url: run_id not in url)
    new = site.ask("GET", f"/v1/runs/{shown_run(page)}")
    sha256 = hashlib.sha256(mended.read_bytes()).hexdigest()
    marks = {"resubmit_of": run_id, "resubmit_sha256": sha256, "resubmit_source": "mend.csv"}
    assert new["run_metadata"] == {"ticket": "C-3"} | marks
    expect(page.get_by_role("heading", level=1)).to_have_text(
        f"corrections of mend.csv, run {run_id.removeprefix('run_')[:8]}"
    )
    assert new["metadata"]["metrics"]["rows_mapped"] == 2
    page.locator("dl.details").get_by_role("link", name=run_id.removeprefix("run_")[:8]).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("mend.csv")


@pytest.mark.thorough
def test_rejects_are_corrected_in_a_workbook(page: Any, site: Site, tmp_path: Path) -> None:
    openpyxl = package("openpyxl")
    run_id = site.run("people:v1", site.write("book.csv", MIXED))
    open_run(page, run_id)
    with page.expect_download() as started:
        page.get_by_role("button", name="Rejects as .xlsx").click()
    assert started.value.suggested_filename == f"{run_id}-rejects.xlsx"
    book = openpyxl.load_workbook(io.BytesIO(Path(started.value.path()).read_bytes()))
    mends = {"x": "2", "y": "y@z.org", "200": "20"}
    for cells in book.active.iter_rows():
        for cell in cells:
            cell.value = mends.get(cell.value, cell.value)
    mended = tmp_path / "mended.xlsx"
    book.save(mended)
    page.get_by_role("button", name="Send corrected rejects").click()
    page.get_by_label("Corrected file").set_input_files(mended)
    page.get_by_role("dialog", name="Send corrected rejects").get_by_role("button", name="Send").click()
    expect(page.locator(".badge")).to_have_text("Succeeded")
    page.wait_for_url(lambda url: run_id not in url)
    new = site.ask("GET", f"/v1/runs/{shown_run(page)}")
    assert new["metadata"]["metrics"]["rows_mapped"] == 2
    assert new["metadata"]["mends"] == run_id


@pytest.mark.thorough
def test_a_run_is_dismissed(page: Any, site: Site) -> None:
    run_id = site.run("people:v1", site.write("dismissed.csv", MIXED))
    open_run(page, run_id)
    page.get_by_role("button", name="Dismiss …").click()
    dialog = page.get_by_role("dialog", name="Dismiss this run?")
    dialog.get_by_label("Why nothing is left to do").fill("known to the supplier")
    dialog.get_by_role("button", name="Dismiss").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("dl.details")).to_contain_text("known to the supplier")
    expect(page.get_by_role("button", name="Dismiss …")).to_have_count(0)
    assert run_id not in [run["id"] for run in site.ask("GET", "/v1/runs?attention=0.01")["items"]]


def test_only_mended_rejects_are_sent_and_only_once(page: Any, site: Site, tmp_path: Path) -> None:
    run_id = site.run("people:v1", site.write("once.csv", MIXED))
    rejects = Path(site.ask("GET", f"/v1/runs/{run_id}")["metadata"]["target_locations"]["rejects"])
    mended = tmp_path / "mended.csv"
    mended.write_text(rejects.read_text().replace(",x,y,6", ",2,y@z.org,6"))

    def send(file: Path) -> None:
        open_run(page, run_id)
        page.get_by_role("button", name="Send corrected rejects").click()
        page.get_by_label("Corrected file").set_input_files(file)
        page.get_by_role("dialog").get_by_role("button", name="Send", exact=True).click()

    source = tmp_path / "source.csv"
    source.write_text(MIXED)
    send(source)
    expect(page.get_by_role("alert").filter(has_text="has no _lume_ columns")).to_be_visible()
    page.get_by_role("button", name="Back").click()
    shown = []
    for _ in range(2):
        send(mended)
        page.wait_for_url(lambda url: run_id not in url)
        shown.append(shown_run(page))
        site.ended(shown[-1])
    assert shown[0] == shown[1]


@pytest.mark.thorough
def test_outputs_that_were_removed_are_said_to_be(page: Any, site: Site) -> None:
    run_id = site.run("people:v1", site.write("gone.csv", MIXED))
    for place in site.ask("GET", f"/v1/runs/{run_id}")["metadata"]["target_locations"].values():
        Path(place).unlink()
    open_run(page, run_id)
    expect(page.get_by_role("alert")).to_have_count(2)
    expect(page.get_by_role("alert").first).to_contain_text("rejects.csv")


@pytest.mark.thorough
def test_a_run_that_is_not_there(page: Any) -> None:
    page.evaluate("location.hash = '#/runs/run_none'")
    expect(page.get_by_role("heading", level=1)).to_have_text("This page can't be shown")
    expect(page.get_by_role("alert")).to_contain_text("there is no run 'run_none'")


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Somebody who takes webhooks."""
    received: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", received
        server.shutdown()


@pytest.mark.thorough
def test_webhook_deliveries_and_messages(
    visitor: Any, tmp_path: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, received = receiver
    monkeypatch.setenv("OPS_URL", f"json://ops:sesame@{host}/")
    rules = tmp_path / "arrivals.toml"
    rules.write_text('[[message]]\non = ["FAILED"]\nto_env = ["OPS_URL"]\n')
    options = {"webhook_secret": "whisper", "webhook_hosts": [host], "messages": rules}
    with running(tmp_path, usual(tmp_path), **options) as site:
        run_id = site.run(
            "people:v1", site.write("hook.csv", GOOD), webhook_url=f"http://{host}/hook?key=sesame"
        )
        path = f"/v1/runs/{run_id}/deliveries"
        while site.ask("GET", path)["items"][0]["state"] != "delivered":
            pass
        assert [event["run_id"] for event in received] == [run_id]
        page = signed_in(visitor, site)
        open_run(page, run_id)
        table = page.get_by_role("table", name="Deliveries")
        expect(table).to_contain_text("Delivered")
        expect(table).to_contain_text(f"http://{host}")
        assert "sesame" not in page.content()
        run_id = site.run("people:v1", "absent.csv")
        path = f"/v1/runs/{run_id}/deliveries"
        while [one["state"] for one in site.ask("GET", path)["items"]] != ["delivered"]:
            pass
        page.goto(received[1]["message"].splitlines()[-1])  # the link in the message
        row = page.get_by_role("table", name="Deliveries").get_by_role("row").nth(1)
        expect(row).to_contain_text("MessageDeliveredOPS_URL1")
        assert "sesame" not in page.content()


@pytest.mark.thorough
def test_mended_rejects_do_not_replace_the_rows_of_their_run(page: Any, site: Site, tmp_path: Path) -> None:
    target = '[target]\nmapped = "{data}/one.csv"\nrejects = "{data}/{run_id}.csv"\n'
    (site.home / "flows" / "one.toml").write_text(
        f'flow = "one"\nversion = "v1"\n{target}[columns.id]\ntype = "integer"\n'
    )
    run_id = site.run("one:v1", site.write("one.csv", "id\n1\nx\n"))
    mended = tmp_path / "mended.csv"
    mended.write_text("_lume_row,id\n2,2\n")
    open_run(page, run_id)
    page.get_by_role("button", name="Send corrected rejects").click()
    page.get_by_label("Corrected file").set_input_files(mended)
    page.get_by_role("dialog").get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="would replace the rows of this run")).to_be_visible()
    assert len(site.ask("GET", "/v1/runs?flow_version=one:v1")["items"]) == 1
