"""Rejected rows for the tests of the inbox, and what a person does with them in the grid."""

from typing import Any

from components import package

from console.site import Site

expect = package("playwright.sync_api").expect

PERSONS = """
flow = "persons"
version = "v1"
[columns.id]
type = "integer"
required = true
[columns.email]
sql = 'lower(trim("Email"))'
format = "email"
[columns.country]
sql = '"Country"'
enum = ["Germany", "France"]
"""
NO_COUNTRY = "country: is not one of Germany, France"
NO_ADDRESS = "email: is not an email address"
HEAD = "id,Email,Country,Note\n"
TYPOS = HEAD + "".join(f"{n},a{n}@b.org,{'Germny' if n % 2 else 'Frnce'},note {n}\n" for n in range(1, 9))
TYPOS += "10,good@b.org,Germany,fine\n11,nobody,France,=1+2\n"


def opened(page: Any, flow: str, **query: str) -> Any:
    """The grid with the open rows of a flow."""
    page.evaluate(
        "([flow, query]) => { location.hash = `#/inbox/${flow}?${new URLSearchParams(query)}`; }",
        [flow, query],
    )
    page.get_by_role("heading", name=f"Rejected rows of {flow}", level=1).wait_for()
    expect(page.get_by_label("Reason")).to_have_value(query.get("reason", ""))
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    return page.get_by_role("grid")


def cell(page: Any, row: int, column: str) -> Any:
    """A cell by the number of its row, from 1, and the heading of its column."""
    page.get_by_role("columnheader", name=column, exact=True).wait_for()
    heads = page.get_by_role("columnheader").all_inner_texts()
    return page.locator(f"[role=row][aria-rowindex='{row + 1}'] [role=gridcell]").nth(heads.index(column))


def write(page: Any, row: int, column: str, text: str) -> None:
    """Edit a cell by the keyboard."""
    cell(page, row, column).click()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Enter")


def judged(page: Any, words: str = "would be accepted by") -> None:
    """Wait until the flow has looked at all edited rows."""
    expect(page.locator(".submit-bar .state")).to_contain_text(words, timeout=60_000)


def paste(page: Any, text: str) -> None:
    page.get_by_role("grid").evaluate(
        """(grid, text) => { const clipboardData = new DataTransfer(); clipboardData.setData("text/plain", text);
        grid.dispatchEvent(new ClipboardEvent("paste", {clipboardData, cancelable: true, bubbles: true})); }""",
        text,
    )


def copied(page: Any, kind: str = "copy") -> str:
    text: str = page.get_by_role("grid").evaluate(
        """(grid, kind) => { const clipboardData = new DataTransfer();
        grid.dispatchEvent(new ClipboardEvent(kind, {clipboardData, cancelable: true, bubbles: true}));
        return clipboardData.getData("text/plain"); }""",
        kind,
    )
    return text


def rejecting(site: Site, flow: str, text: str = TYPOS) -> str:
    """A flow of its own with rejected rows; the run."""
    site.ask("PUT", f"/v1/flows/{flow}/versions/v1", definition(flow))
    return site.run(f"{flow}:v1", site.write(f"{flow}.csv", text))


def definition(flow: str) -> dict[str, Any]:
    return {
        "flow": flow,
        "version": "v1",
        "columns": {
            "id": {"type": "integer", "required": True},
            "email": {"sql": 'lower(trim("Email"))', "format": "email"},
            "country": {"sql": '"Country"', "enum": ["Germany", "France"]},
        },
    }


def open_rows(site: Site, flow: str) -> dict[str | None, int]:
    """The open rows by reason; all of them under None."""
    found = site.ask("GET", f"/v1/inbox?flow={flow}")
    return {one.get("reason"): one["open"] for one in (*found["flows"], *found["items"])}
