"""How many runs a key may submit in a minute, and how many of its runs are executed at a time."""

import hashlib
from pathlib import Path

import pytest
from local.flows import slow_rows
from local.wire import Wire

import lume_local
from lume_local._http.access.keys import ApiKeys
from lume_local._http.access.limits import Quotas
from lume_local._runs.sql.tables import VERSION


def entry(name: str, role: str = "submit", **bounds: object) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in bounds.items())
    return f'[{name}]\nrole = "{role}"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n{more}'


def test_a_bucket_for_each_key() -> None:
    now = 100.0
    quotas = Quotas(lambda: now)
    assert [quotas.wait(("a", 3)) for _ in range(5)] == [0, 0, 0, 20, 20]
    assert quotas.wait(("b", 3)) == 0
    now += 19.5
    assert quotas.wait(("a", 3)) == 1
    now += 0.5
    assert [quotas.wait(("a", 3)) for _ in range(2)] == [0, 20]
    now += 1000
    assert [quotas.wait(("a", 3)) for _ in range(4)] == [0, 0, 0, 20]


async def test_more_submissions_than_a_key_may_make_are_refused_with_the_time_to_wait(home: Path) -> None:
    (home / "keys.toml").write_text(entry("nightly", submissions_per_minute=2))
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=home / "keys.toml") as server:
        wire = Wire(server.base_url, "nightly")
        async with wire.session:
            answers = [await wire.submit("people:v1", "people.csv", force_rerun=True) for _ in range(3)]
            listed = await wire.ask("GET", "/v1/runs?submitted_by=nightly")
            assert (await wire.ask("GET", "/v1/runs?submitted_by=server")).document["items"] == []
    assert answers[0].status == 201
    made = [one for one in answers if one.status == 201]
    assert [run["submitted_by"] for run in listed.document["items"]] == ["nightly"] * len(made)
    assert (answers[2].status, answers[2].kind) == (429, "too-many-submissions")
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 30
    assert "'nightly' has submissions_per_minute = 2" in answers[2].document["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/replays", {"flow": "people"}), ("/v1/drafts/people/submit", {"rev": 1})],
)
async def test_replays_and_drafts_are_submissions(home: Path, path: str, body: dict[str, object]) -> None:
    (home / "keys.toml").write_text(entry("nightly", submissions_per_minute=1))
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=home / "keys.toml") as server:
        wire = Wire(server.base_url, "nightly")
        async with wire.session:
            answers = [await wire.ask("POST", path, json=body) for _ in range(2)]
            run = await wire.submit("people:v1", "people.csv")
            assert (await wire.ask("POST", "/v1/drafts/people/judge", json={})).status != 429
    assert answers[0].status != 429
    assert [(one.status, one.kind) for one in (answers[1], run)] == [(429, "too-many-submissions")] * 2


async def test_runs_of_a_key_beyond_its_own_limit_wait_and_hold_up_no_other(home: Path) -> None:
    for name in ("a", "b", "c"):
        (home / f"{name}.csv").write_text((home / "people.csv").read_text())
    (home / "slow.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(20_000)))
    (home / "keys.toml").write_text(entry("nightly", max_active=1) + entry("person"))
    options = {"keys": home / "keys.toml", "max_active": 2}
    async with lume_local.serve(home / "flows", home / ".lume", [home], **options) as server:
        nightly, person = (Wire(server.base_url, name) for name in ("nightly", "person"))
        async with nightly.session, person.session:
            slow = (await nightly.submit("slow:v1", "slow.csv")).document["id"]
            await nightly.until(slow, "TRANSFORMING")
            waiting = (await nightly.submit("people:v1", "a.csv")).document["id"]
            assert (await person.run("people:v1", "b.csv"))["status"] == "SUCCEEDED"
            assert (await nightly.get(waiting)).document["status"] == "CREATED"
            await nightly.ask("POST", f"/v1/runs/{slow}/cancel")
            assert (await nightly.until(waiting))["status"] == "SUCCEEDED"


async def test_a_limit_that_is_raised_is_in_effect_at_once(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    (home / "keys.toml").write_text(entry("nightly", max_active=1))
    options = {"keys": home / "keys.toml", "max_active": 2}
    async with lume_local.serve(home / "flows", home / ".lume", [home], **options) as server:
        nightly, own = Wire(server.base_url, "nightly"), Wire(server.base_url, server.api_key)
        async with nightly.session, own.session:
            slow = (await nightly.submit("slow:v1", "slow.csv")).document["id"]
            await nightly.until(slow, "TRANSFORMING")
            waiting = (await nightly.submit("people:v1", "people.csv")).document["id"]
            (home / "keys.toml").write_text(entry("nightly", max_active=2))
            assert (await own.until(waiting))["status"] == "SUCCEEDED"
            assert (await own.get(slow)).document["status"] == "TRANSFORMING"
            await own.ask("POST", f"/v1/runs/{slow}/cancel")


def test_the_tokens_of_an_entry_share_its_limit(tmp_path: Path) -> None:
    of_tokens = 'issuer = "https://id.example"\naudience = "lume"\n'
    (tmp_path / "keys.toml").write_text(
        f'[staff]\nrole = "submit"\nmax_active = 2\n{of_tokens}[robots]\nrole = "submit"\n{of_tokens}'
        + entry("nightly", max_active=2)
    )
    keys = ApiKeys("own", tmp_path / "keys.toml")
    others = {"robots:ann": 9, "staffing:ann": 9, "nightly:ann": 9, None: 9}
    for one in ({"staff:ann": 2}, {"staff:ann": 1, "staff:bob": 1}, {"staff": 1, "staff:bob": 1}):
        assert keys.at_limit({**others, **one}) == ["staff", "staff:"]
    assert keys.at_limit({**others, "staff:ann": 1, "nightly": 1}) == []
    assert keys.at_limit({**others, "staff:ann": 1, "nightly": 2}) == ["nightly"]


async def test_only_an_admin_sets_a_priority(home: Path) -> None:
    (home / "keys.toml").write_text(entry("person") + entry("chief", "admin"))
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=home / "keys.toml") as server:
        person, chief = (Wire(server.base_url, name) for name in ("person", "chief"))
        async with person.session, chief.session:
            refused = await person.submit("people:v1", "people.csv", priority=1)
            assert (refused.status, refused.document["field"]) == (403, "priority")
            assert (await person.submit("people:v1", "people.csv", priority=0)).status == 201
            assert (await chief.submit("people:v1", "people.csv", priority=9, force_rerun=True)).status in (
                201,
                409,
            )
            about = await chief.ask("GET", "/v1/server")
            assert (about.status, about.document["state"]) == (200, {"kind": "sqlite", "form": VERSION})
            assert (await person.ask("GET", "/v1/server")).status == 403
