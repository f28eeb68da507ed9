"""Arrivals of a real server: over HTTP, with real runs, and with a file that changes."""

import asyncio
import os
import shlex
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from local.flows import slow_rows
from local.servers import serve
from local.wire import Wire
from on_posix import posix_only

import lume_local
from lume_async import ConfigurationError
from lume_local._arrivals import local_place, watcher
from lume_local._arrivals.arrivals import read_file

pytestmark = posix_only
ARRIVALS = """
[[arrival]]
name = "acme"
flow = "people"
from = "in/*.csv"
ready = { quiet = "100ms" }
changed = "rerun"
"""
ROWS = "id,Email,Age\n1,a@example.org,5\n"


@pytest.fixture
def file(home: Path) -> Path:
    (home / "in").mkdir()
    (home / "arrivals.toml").write_text(ARRIVALS)
    return home / "arrivals.toml"


async def arrivals(wire: Wire, query: str = "") -> dict[str, Any]:
    answer = await wire.ask("GET", f"/v1/arrivals{query}")
    assert answer.status == 200
    found: dict[str, Any] = answer.document
    return found


async def until(wire: Wire, wanted: Any) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while not wanted(found := await arrivals(wire)):
            await asyncio.sleep(0.02)
    return found


async def test_a_file_becomes_a_run(home: Path, file: Path) -> None:
    async with serve(home, arrivals=file) as wire:
        (home / "in/a.csv").write_text(ROWS)
        (home / "in/link.csv").symlink_to("/etc/passwd")
        found = await until(
            wire,
            lambda found: (
                {one["status"] or one["state"] for one in found["files"]} == {"SUCCEEDED", "refused"}
            ),
        )
        (place,) = found["arrivals"]
        assert (place["name"], place["flow"], place["uri"], place["watched"]) == (
            *("acme", "people", "in/*.csv"),
            "inotify",
        )
        assert [place[state] for state in ("waiting", "submitted", "refused")] == [0, 1, 1]
        assert [one["path"] for one in found["files"]] == ["in/link.csv", "in/a.csv"]
        submitted = (await arrivals(wire, "?name=acme&state=submitted&limit=1"))["files"]
        assert [one["path"] for one in submitted] == ["in/a.csv"]
        run = await wire.until(submitted[0]["run_id"])
        assert run["submitted_by"] == "arrival:acme"
        metrics = await wire.session.get("/metrics")
        assert 'lume_arrival_files{arrival="acme",state="refused"} 1.0' in await metrics.text()
        for query, said in (
            ("name=nobody", "no arrival"),
            ("state=lost", "must be one of"),
            ("limit=0", "limit"),
        ):
            answer = await wire.ask("GET", f"/v1/arrivals?{query}")
            assert (answer.status, said in answer.document["detail"]) == (400, True)


SOLD = """
flow = "sold"
version = "{version}"
[columns.id]
type = "integer"
required = true
"""


async def test_a_new_version_with_a_layout_is_used_from_then_on(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a layout that it lacks is waited for, since a later version may have it."""
    monkeypatch.setattr(watcher, "RETRY", 0.1)
    for name, flow, layout in (
        ("newest", "sold", ""),
        ("pinned", "sold:v1", ""),
        ("named", "sold", 'layout = "post"'),
    ):
        (home / name).mkdir()
        settings = ARRIVALS.replace("acme", name).replace("people", flow).replace("in/", f"{name}/")
        file.write_text(file.read_text() + settings + layout)
    version, shop = SOLD.replace("{version}", "v1"), "[layouts.shop.columns]\nid = '\"ID\"'\n"
    post = shop.replace("shop", "post").replace("ID", "Nr")
    why = "sold:v2 has no layout 'post'; it has shop"
    (home / "flows/sold.v1.toml").write_text(version)
    async with serve(home, arrivals=file) as wire:
        for number, more in ((2, shop), (3, shop + post)):
            definition = tomllib.loads(version.replace("v1", f"v{number}") + more)
            answer = await wire.ask("PUT", f"/v1/flows/sold/versions/v{number}", json=definition)
            assert answer.status == 201
            for folder in ("newest", "pinned", "named"):
                (home / folder / f"{number}.csv").write_text("ID\n1\n")
            if number == 2:
                found = await until(
                    wire,
                    lambda found: (
                        any(one["why"] == why for one in found["files"])
                        and sum(one["submitted"] for one in found["arrivals"]) == 2
                    ),
                )
                assert [one["path"] for one in found["files"] if one["why"] == why] == ["named/2.csv"]
        await until(wire, lambda found: sum(one["submitted"] for one in found["arrivals"]) == 6)
        runs = (await wire.ask("GET", "/v1/runs?flow=sold")).document["items"]
        assert sorted((run["source_path"], run["flow_version"], run.get("layout")) for run in runs) == [
            *(("named/2.csv", "sold:v3", "post"), ("named/3.csv", "sold:v3", "post")),
            *(("newest/2.csv", "sold:v2", None), ("newest/3.csv", "sold:v3", None)),
            *(("pinned/2.csv", "sold:v1", None), ("pinned/3.csv", "sold:v1", None)),
        ]


async def test_content_that_the_run_has_read_is_no_other(home: Path, file: Path) -> None:
    """A file that was replaced after it was submitted, and before its run read it."""
    file.write_text(ARRIVALS.replace("rerun", "refuse"))
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home, arrivals=file) as wire:
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        (home / "in/a.csv").write_text(ROWS)
        await until(wire, lambda found: [one["status"] for one in found["files"]] == ["CREATED"])
        (home / "in/.a.csv").write_text(ROWS.replace("5", "6"))
        os.replace(home / "in/.a.csv", home / "in/a.csv")
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        # The lists are read before the counts: files may be settled in between.
        await until(
            wire,
            lambda found: (
                [(one["state"], one["status"]) for one in found["files"]] == [("submitted", "SUCCEEDED")]
                and found["arrivals"][0]["submitted"] == 2
            ),
        )


@pytest.mark.thorough
async def test_the_file_is_read_again(home: Path, file: Path) -> None:
    async with serve(home, arrivals=file) as wire:
        assert (await arrivals(wire))["problem"] is None
        file.write_text(ARRIVALS + 'form = "x"\n')
        found = await until(wire, lambda found: found["problem"])
        assert f"{file}:8: arrival[0].form: is not a known key" in found["problem"]
        assert [one["name"] for one in found["arrivals"]] == ["acme"], "the ones before stay in effect"
        file.write_text(f"deep = {'[' * 5000}")
        found = await until(wire, lambda found: "nested too deeply" in found["problem"])
        (home / "in/a.csv").write_text(ROWS)
        await until(wire, lambda found: found["arrivals"][0]["submitted"] == 1)
        (home / "other").mkdir()
        (home / "other/b.csv").write_text(ROWS)
        file.write_text(ARRIVALS.replace('"acme"', '"other"').replace("in/", "other/"))
        found = await until(wire, lambda found: found["problem"] is None and found["files"])
        assert [one["name"] for one in found["arrivals"]] == ["other"]
        await until(wire, lambda found: found["arrivals"][0]["submitted"] == 1)


async def test_an_arrival_moves_to_another_version(home: Path, file: Path) -> None:
    place = "/v1/arrivals/acme"
    async with serve(home, arrivals=file) as wire:
        (home / "in/a.csv").write_text(ROWS)
        await until(wire, lambda found: found["arrivals"][0]["submitted"] == 1)
        moved = await wire.ask("PATCH", place, json={"version": "v1"})
        assert (moved.status, moved.document["flow"]) == (200, "people:v1")
        assert file.read_text() == ARRIVALS.replace('"people"', '"people:v1"')
        assert (await arrivals(wire))["arrivals"] == [moved.document], "it is in effect"
        (home / "in/b.csv").write_text(ROWS)
        await until(wire, lambda found: found["arrivals"][0]["submitted"] == 2)
        assert (await wire.ask("PATCH", place, json={"version": None})).document["flow"] == "people"
        (act, *_) = (await wire.ask("GET", "/v1/audit?what=move_arrival")).document["items"]
        assert (act["by"], act["subject"], act["detail"]) == ("server", "acme", {"flow": "people"})
        for path, body, status, said in (
            ("/v1/arrivals/other", {"version": "v1"}, 404, "no arrival 'other'"),
            (place, {"version": "v9"}, 404, "people:v9"),
            (place, {}, 422, "version: is missing"),
            (place, {"version": 1}, 422, "version"),
            (place, {"flow": "x"}, 422, "is not a field here"),
        ):
            refused = await wire.ask("PATCH", path, json=body)
            assert refused.status == status, refused.document
            assert said in refused.document["detail"]
        file.write_text("[[arrival]]\n")
        refused = await wire.ask("PATCH", place, json={"version": "v1"})
        assert (refused.status, refused.kind) == (422, "not-supported")
        assert "arrivals.toml: arrival[0].name: is missing" in refused.document["detail"]
        assert file.read_text() == "[[arrival]]\n"


async def test_a_server_does_not_start_with_a_mistake(home: Path, file: Path) -> None:
    file.write_text('[[arrival]]\nname = "a"\n')
    with pytest.raises(ConfigurationError, match=r"arrival\[0\].flow: is missing") as raised:
        async with lume_local.serve(home / "flows", home / ".lume", arrivals=file):
            pass
    assert "arrival[0].from: is missing" in str(raised.value)
    with pytest.raises(ConfigurationError, match="can't be read: No such file"):
        async with lume_local.serve(home / "flows", home / ".lume", arrivals=home / "absent.toml"):
            pass


async def test_a_server_does_not_start_without_what_watches_a_folder(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lume_async._base.extras.find_spec", lambda name: None if name == "watchfiles" else find_spec(name)
    )
    with pytest.raises(ConfigurationError, match=r"needs watchfiles: .* install .*\[arrivals\]"):
        async with lume_local.serve(home / "flows", home / ".lume", arrivals=file):
            pass
    file.write_text(ARRIVALS.replace("in/", "s3://bucket/in/"))
    assert read_file(file), "only folders need it"


async def test_a_name_that_is_not_utf8_stops_nothing(
    home: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`watchfiles` can't decode it, whether it matches or not: the others are submitted nevertheless, at once."""
    async with serve(home, arrivals=file) as wire:
        await until(wire, lambda found: found["arrivals"][0]["watched"])
        for n in range(3):
            for name in (b"\xff.txt", b"\xff%d.csv" % n):
                Path(os.fsdecode(os.fsencode(home / "in") + b"/" + name)).write_text(ROWS)
            (home / f"in/{n}.csv").write_text(ROWS)
            counts = (n + 1, n + 1)
            await until(
                wire,
                lambda found, counts=counts: (
                    counts == (found["arrivals"][0]["refused"], found["arrivals"][0]["submitted"])
                ),
            )
    assert "unexpected" not in caplog.text
    assert "trying again" not in caplog.text


@pytest.mark.parametrize("way", ["removed", "renamed"])
async def test_a_folder_that_is_made_anew_is_watched(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """What comes later is told by notifications, too: no listing finds it in time."""
    monkeypatch.setattr(watcher, "RETRY", 0.1)
    monkeypatch.setattr(local_place, "CHECK", 600.0)
    async with serve(home, arrivals=file) as wire:
        (home / "in/a.csv").write_text(ROWS)
        await until(wire, lambda found: found["arrivals"][0]["submitted"] == 1)
        if way == "removed":
            shutil.rmtree(home / "in")
        else:
            (home / "in").rename(home / "old")
        (home / "in").mkdir()
        for n in (2, 3):
            (home / f"in/{n}.csv").write_text(ROWS)
            await until(wire, lambda found, n=n: found["arrivals"][0]["submitted"] == n)


async def test_failed_files_are_taken_again_with_a_corrected_flow(home: Path, file: Path) -> None:
    place = "/v1/arrivals/acme/retry"
    text = ARRIVALS.replace('"people"', '"people:v1"')
    file.write_text(text + 'after = { move = "done/" }\nfailed = "quarantine/"\nretry = 3\n')
    async with serve(home, arrivals=file) as wire:
        for name in ("a", "b"):
            (home / f"in/{name}.csv").write_text("id,Mail,Age\n1,a@example.org,5\n")
        async with asyncio.timeout(60):
            while not all((home / f"in/quarantine/{name}.csv").exists() for name in ("a", "b")):
                await asyncio.sleep(0.02)
        lie = {f"in/{name}.csv": f"in/quarantine/{name}.csv" for name in ("a", "b")}
        found = (await until(wire, lambda found: all(one["lies_at"] for one in found["files"])))["files"]
        assert {one["path"]: one["lies_at"] for one in found} == lie
        ids = {one["path"]: one["run_id"] for one in found}

        async def waits(name: str) -> Any:
            return (await wire.ask("GET", f"/v1/runs/{ids[name]}")).document["metadata"].get("arrival")

        assert await waits("in/a.csv") == {"name": "acme", "lies_at": lie["in/a.csv"]}
        flow = tomllib.loads((home / "flows/people.v1.toml").read_text()) | {"version": "v2"}
        flow["columns"]["email"]["sql"] = '"Mail"'
        assert (await wire.ask("PUT", "/v1/flows/people/versions/v2", json=flow)).status == 201
        await wire.ask("PATCH", "/v1/arrivals/acme", json={"version": "v2"})  # whose watcher begins anew
        taken = await wire.ask("POST", place, json={"paths": ["in/a.csv"]})
        ((one,), cursor) = taken.document["items"], taken.document["next_cursor"]
        assert (taken.status, one["path"], one["state"], one["why"], cursor) == (
            *(200, "in/a.csv", "waiting", "it is taken again once it is ready"),
            None,
        )
        async with asyncio.timeout(60):
            while not (home / "in/done/a.csv").exists():
                await asyncio.sleep(0.02)
        assert (home / "in/quarantine/b.csv").exists()
        assert await waits("in/a.csv") is None, "it has another run"
        assert await waits("in/b.csv") == {"name": "acme", "lies_at": lie["in/b.csv"]}
        (left,) = (await wire.ask("POST", place, json={})).document["items"]
        assert left["path"] == "in/b.csv"
        async with asyncio.timeout(60):
            while not (home / "in/done/b.csv").exists():
                await asyncio.sleep(0.02)
        found = (await arrivals(wire, "?state=submitted"))["files"]
        assert [(one["path"], one["status"]) for one in found] == [
            ("in/b.csv", "SUCCEEDED"),
            ("in/a.csv", "SUCCEEDED"),
        ]
        assert [one["lies_at"] for one in found] == [None, None]
        (act, *_) = (await wire.ask("GET", "/v1/audit?what=retry_arrival")).document["items"]
        assert (act["subject"], act["detail"]) == ("acme", {"files": 1})
        assert (await wire.ask("POST", place, json={})).document["items"] == []
        for path, body, said in (
            ("/v1/arrivals/other/retry", {}, "no arrival 'other'"),
            (place, {"paths": "in/a.csv"}, "paths: must be an array"),
            (place, {"cursor": 1}, "and cursor a string"),
            (place, {"all": True}, "is not a field here"),
        ):
            refused = await wire.ask("POST", path, json=body)
            assert refused.status == 422, refused.document
            assert said in refused.document["detail"]


async def test_the_advised_command_names_the_file_where_it_was_put_aside(home: Path, file: Path) -> None:
    file.write_text(f'{ARRIVALS}failed = "quarantine of/"\n')
    async with serve(home, arrivals=file) as wire:
        (home / "in/a.csv").write_text("id;Email;Age\n1;a@example.org;5\n")
        (one,) = (await until(wire, lambda found: found["files"] and found["files"][0]["lies_at"]))["files"]
        command = one["why"].partition(": lume ")[2]
        assert shlex.split(command) == ["flow", "map", "people:v1", str(home / one["lies_at"])]
        run = (await wire.ask("GET", f"/v1/runs/{one['run_id']}")).document
        assert run["metadata"]["error_message"] == one["why"]


@pytest.mark.parametrize("is_refused", [True, False])
async def test_another_file_under_the_name_of_one_that_was_put_aside(
    home: Path, file: Path, is_refused: bool
) -> None:
    """It takes the other's place in the list; that one stays in the folder."""
    text = ARRIVALS.replace('"rerun"', '"refuse"' if is_refused else '"rerun"')
    file.write_text(text + 'after = { move = "done/" }\nfailed = "quarantine/"\n')
    async with serve(home, arrivals=file) as wire:
        if is_refused:
            (home / "in/a.csv").write_text(ROWS)
            await until(wire, lambda _: (home / "in/done/a.csv").exists())
        (home / "in/a.csv").write_text("id,Mail,Age\n1,a@example.org,5\n")
        aside = lambda found: [one for one in found["files"] if one["lies_at"] is not None]  # noqa: E731
        (one,) = aside(await until(wire, aside))
        assert (one["path"], one["lies_at"]) == ("in/a.csv", "in/quarantine/a.csv")
        assert one["state"] == ("refused" if is_refused else "submitted")
        (home / "in/a.csv").write_text(ROWS if is_refused else ROWS.replace("5", "6"))
        found = await until(wire, lambda found: not aside(found))
        assert {one["path"] for one in found["files"]} == {"in/a.csv"}
        assert (home / "in/quarantine/a.csv").exists()
