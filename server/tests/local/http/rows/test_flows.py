"""`GET /v1/flows`."""

import json
from pathlib import Path

from local.flows import people
from local.wire import Wire

GOLDEN = Path(__file__).parents[5] / "tests/contract"


async def test_the_page_is_that_of_the_golden_file(wire: Wire) -> None:
    definition = json.loads((GOLDEN / "flow_definition.json").read_text())
    await wire.ask("PUT", "/v1/flows/people/versions/v2", json=definition)
    await wire.run("people:v1", "people.csv")
    page = (await wire.ask("GET", "/v1/flows?flow=people")).document
    for item in page["items"]:
        item["created_at"] = "2026-01-02T03:04:05.000000Z"
    assert page == json.loads((GOLDEN / "flows_page.json").read_text())


async def test_of_a_version_with_layouts_only_defaults_are_shown(wire: Wire) -> None:
    columns = {"id": {"type": "integer"}, "kind": {"sql": "'a'"}, "name": {"from": ["Name"]}}
    layouts = {"x": {"columns": {"id": '"Nr"'}}}
    await wire.ask(
        "PUT", "/v1/flows/people/versions/v2", json=people(version="v2", columns=columns, layouts=layouts)
    )
    found = (await wire.ask("GET", "/v1/flows?flow=people")).document["items"][-1]["columns"]
    assert {one["name"]: one.get("sql", "") for one in found} == {"id": "", "kind": "'a'", "name": '"name"'}


async def test_every_version_comes_once_by_flow_and_age(wire: Wire) -> None:
    for version in ("v2", "v10"):
        await wire.ask("PUT", f"/v1/flows/people/versions/{version}", json=people(version=version))
    for limit in (1, 2, 3, 100):
        found: list[str] = []
        url = f"/v1/flows?limit={limit}"
        cursor = ""
        while cursor is not None:
            page = (await wire.ask("GET", url + cursor)).document
            assert len(page["items"]) <= limit, limit
            found += [item["flow_version"] for item in page["items"]]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        assert found == ["notes:v1", "people:v1", "people:v2", "people:v10", "slow:v1"]


async def test_a_cursor_of_elsewhere_is_refused(wire: Wire) -> None:
    cursor = (await wire.ask("GET", "/v1/flows?limit=1")).document["next_cursor"]
    for wrong in ("x-people:v1", cursor.replace("notes", "none")):
        answer = await wire.ask("GET", f"/v1/flows?cursor={wrong}")
        assert (answer.status, answer.kind) == (400, "invalid-cursor")
    assert (await wire.ask("GET", "/v1/flows?flow=nothing")).document["items"] == []
