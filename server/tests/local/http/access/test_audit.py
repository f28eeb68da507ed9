"""`GET /v1/audit`: what the holders of keys did, as a server notes it."""

import hashlib
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from local.flows import people
from local.servers import serve
from local.wire import Wire

import lume_async
import lume_local


def entry(name: str, role: str = "admin") -> str:
    return f'[{name}]\nrole = "{role}"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n'


def told(items: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(item["by"], item["what"], item["subject"]) for item in items]


async def test_who_did_what(home: Path) -> None:
    keys, backup, new = home / "keys.toml", home / "backup", home / "new"
    (home / "slow.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(20_000)))
    (home / "bad.csv").write_text("id,Email,Age\n1,no address,2\n2,b@example.org,3\n")
    keys.write_text(entry("ann") + entry("bob", "submit"))
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=keys, max_active=1) as server:
        ann, bob, cy = (Wire(server.base_url, name) for name in ("ann", "bob", "cy"))
        async with ann.session, bob.session, cy.session:
            slow = (await bob.submit("slow:v1", "slow.csv")).document["id"]
            waiting = (await bob.submit("people:v1", "people.csv")).document["id"]
            await bob.until(slow, "TRANSFORMING")
            await ann.ask("POST", f"/v1/runs/{waiting}/cancel")
            await bob.ask("POST", f"/v1/runs/{slow}/cancel")
            await ann.until(slow)
            await ann.ask("POST", f"/v1/runs/{slow}/cancel")  # too late: nothing was done
            bad = (await bob.run("people:v1", "bad.csv"))["id"]
            again = await bob.run("people:v1", "bad.csv", force_rerun=True)
            await bob.ask("POST", f"/v1/runs/{bad}/dismiss", json={"why": "known"})
            await ann.ask("PUT", "/v1/flows/people/versions/v2", json=people(version="v2"))
            await ann.ask("PUT", "/v1/flows/people/versions/v2", json=people(version="v2"))  # nothing new
            replay = (
                await bob.ask("POST", "/v1/replays", json={"flow": "people", "to": "people:v1"})
            ).document["runs"][0]["id"]
            await bob.until(replay)
            body = {"flow": "people", "why": "a test"}
            assert (await ann.ask("POST", "/v1/rejects/discard", json=body)).document == {"discarded": 1}
            await ann.ask("POST", "/v1/rejects/discard", json=body)  # nothing is open any more
            keys.write_text(entry("ann") + entry("cy", "read"))
            assert (await bob.ask("GET", "/v1/runs")).status == 401
            wanted = [
                ("server", "reload", str(keys)),
                ("ann", "discard", "people"),
                ("bob", "replay", replay),
                ("ann", "register_flow", "people:v2"),
                ("bob", "dismiss", bad),
                ("bob", "force_rerun", again["id"]),
                ("bob", "cancel", slow),
                ("ann", "cancel", waiting),
            ]
            items: list[dict[str, Any]] = []
            while len(items) < len(wanted):  # the reload is noted by another task
                items = (await ann.ask("GET", "/v1/audit?since=2000-01-01T00:00:00Z&limit=8")).document[
                    "items"
                ]
                if items[0]["what"] != "reload":
                    items = []
            assert told(items) == wanted
            assert items[1]["detail"] == {"rows": 1, "runs": [again["id"]], "why": "a test"}
            by_ann = (await ann.ask("GET", "/v1/audit?by=ann&limit=2")).document
            assert told(by_ann["items"]) == [wanted[1], wanted[3]]
            rest = (await ann.ask("GET", f"/v1/audit?by=ann&cursor={by_ann['next_cursor']}")).document
            assert (told(rest["items"]), rest["next_cursor"]) == ([wanted[7]], None)
            assert (await ann.ask("GET", "/v1/audit?what=eat")).status == 400
            assert (await cy.ask("GET", "/v1/audit")).status == 403
        async with lume_async.Client("ann", base_url=server.base_url) as client:
            found = [one async for one in client.audit(by="bob", what="cancel", since=3600)]
            assert [(one.subject, one.detail) for one in found] == [(slow, {})]
    await run_sync(lambda: lume_local.back_up(home / ".lume", backup))
    await run_sync(lambda: lume_local.restore(backup, new))
    async with lume_local.serve(None, new, [home]) as after, after.client() as client:
        (first, *others) = [one async for one in client.audit(limit=3)]
        assert (first.what, first.subject, first.by[:5]) == ("restore", str(new), "user ")
        assert [one.what for one in others] == ["reload", "discard"]


@pytest.mark.thorough
async def test_files_that_a_running_server_reads_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by the server; a version with a mistake is not in effect, and so no act."""
    keys, arrivals, messages = (home / f"{name}.toml" for name in ("keys", "arrivals", "messages"))
    monkeypatch.setenv("OPS_URL", "json://localhost")
    texts = {
        keys: (entry("ann"), entry("ann") + entry("bob")),
        arrivals: ("", '[[arrival]]\nname = "acme"\nflow = "people"\nfrom = "in/*.csv"\n'),
        messages: ("", '[[message]]\non = ["FAILED"]\nto_env = ["OPS_URL"]\n'),
    }
    for path, (before, _) in texts.items():
        path.write_text(before)
    async with serve(home, keys=keys, arrivals=arrivals, messages=messages) as wire:

        async def reloads(number: int) -> list[tuple[str, str, dict[str, Any]]]:
            while True:
                # Keys are read again when one is used.
                await wire.ask("GET", "/v1/runs", headers={"lume-api-key": "ann"})
                found = (await wire.ask("GET", "/v1/audit?what=reload")).document["items"]
                if len(found) >= number:
                    return [(one["by"], one["subject"], one["detail"]) for one in found]
                await anyio.sleep(0.02)

        for path in texts:
            path.write_text("wrong = 1\n")
        while (await wire.ask("GET", "/v1/arrivals")).document["problem"] is None:
            await anyio.sleep(0.02)
        for path, (_, after) in texts.items():
            path.write_text(after)
        found = await reloads(3)
        assert sorted(found) == sorted(
            ("server", str(path), {path.stem: 2 if path is keys else 1}) for path in texts
        )
