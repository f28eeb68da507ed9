"""What holds at the end of every history of the server, whatever was killed, stalled or lost meanwhile.

- **every submission has one end**: each submission that was answered has its run, the same for each repetition of
  its key; each run has ended, once; of the runs of a source, one at most has output, unless it was forced; an
  arrived file has one run, or one more after a crash, and is moved by how the last one has ended.
- **account closes**: the account of each source, and of each flow, agrees with the runs and with the rows.
- **a rejected row has one end**: a row is open or was closed once; nothing that has ended has a claim on it.
- **a message at least once**: each webhook, event and message about an end was accepted by its receiver.
- **nothing published by a server that lost its lease**: if servers share a state, a worker commits only what the
  holder of the lease has permitted in the state (checked at that moment).
- **output of its run, and nothing else**: each run with output has published its rows; no other files are left.
- **comes to rest**: a server that is left alone ends all work, and reports no trouble.
"""

import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from lume_local._http.exchange import Ask, Problem
from lume_local._runs.store.ledger import LedgerAccount
from lume_local._runs.store.records import ACTIVE, WITH_OUTPUT
from lume_local._shared.row_set import all_rows, unpacked

from .workers import rows_of
from .world import Lost, Violation, World

ONE_END = "every submission has one end"
CLOSES = "account closes"
ROW_ENDS = "a rejected row has one end"
AT_LEAST_ONCE = "a message at least once"
FENCED = "nothing published by a server that lost its lease"
OUTPUT = "output of its run, and nothing else"
RESTS = "comes to rest"
NAMES = (ONE_END, CLOSES, ROW_ENDS, AT_LEAST_ONCE, FENCED, OUTPUT, RESTS)
RETRIES = 1
"""Repetitions of an arrived file's crashed run, see `stage.ARRIVALS`."""
PATIENCE = 5400.0
"""Seconds until everything must have come to rest; a delivery is tried for more than an hour."""


def must(invariant: str, holds: object, message: str) -> None:
    if not holds:
        raise Violation(invariant, message)


async def come_to_rest(world: World) -> None:
    """Let a server work without faults until nothing is left to do. Raises `Violation`."""
    world.faults, world.kills = {}, []
    end = world.loop.time() + PATIENCE
    while True:
        await world.ready()
        if not (left := _left(world) or await _unwell(world)):
            break
        must(RESTS, world.loop.time() < end, f"is left after {PATIENCE:g} s: {left}")
        await asyncio.sleep(1.0 if world.loop.time() < end - PATIENCE + 60 else 60.0)


def _left(world: World) -> list[str]:
    """Return what is still to do."""
    queries = {
        "active runs": f"SELECT count(*) FROM runs WHERE status IN {ACTIVE}",
        "deliveries": "SELECT count(*) FROM deliveries WHERE due IS NOT NULL",
        "notices": "SELECT count(*) FROM notices",
    }
    found = [name for name, query in queries.items() if world.asked(query)[0][0]]
    taken = {row[0] for row in world.asked("SELECT source_path FROM runs")}
    found += [f"{path} has no run" for path in world.arrived if path not in taken]
    found += [f"folder of {path.name}" for path in _folders(world)]
    found += [f"{path} is not moved" for path in world.arrived if (world.folder / path).exists()]
    return found


async def _unwell(world: World) -> list[str]:
    """Return what the server reports as trouble."""
    try:
        reply = await world.call(lambda api: api.server.health(Ask({}, [], b"")))
    except (Problem, Lost) as problem:
        return [repr(problem)]
    return list(reply.document.get("waiting", ()))


def _folders(world: World) -> list[Path]:
    below = [world.data / "state" / "runs", world.data / ".runs", world.data / "state" / "begun"]
    return [path for folder in below if folder.is_dir() for path in folder.iterdir() if path.is_dir()]


async def judge(world: World) -> None:
    """Check everything. Raises `Violation`."""
    await come_to_rest(world)
    if world.violations:
        raise world.violations[0]
    runs = _runs(world)
    _judge_ends(world, runs)
    await _judge_repetitions(world)
    _judge_accounts(world, runs)
    _judge_rows(world)
    _judge_messages(world, runs)
    _judge_output(world, runs)


def _runs(world: World) -> list[dict[str, Any]]:
    names = "seq, run_id, status, flow_version, source_key, source_path, force_rerun, run_metadata, purged"
    rows = world.asked(f"SELECT {names}, metrics, target_locations FROM runs ORDER BY seq")
    columns = [*names.split(", "), "metrics", "target_locations"]
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    for run in found:
        for name in ("metrics", "target_locations", "run_metadata"):
            run[name] = json.loads(run[name]) or {}
    return found


def _judge_ends(world: World, runs: list[dict[str, Any]]) -> None:
    known, kept = {run["run_id"]: run["status"] for run in runs}, not world.purges
    for key, submission in world.submissions.items():
        run_id = submission["run"]
        must(ONE_END, run_id is None or run_id in known or not kept, f"{key}: {run_id} is lost")
    statuses = defaultdict[str, list[str]](list)
    for run_id, status in world.asked("SELECT run_id, status FROM changes ORDER BY seq"):
        statuses[run_id].append(status)
    met = world.asked(
        "SELECT run_id, error_message FROM runs WHERE error_message LIKE 'the server met an error%'"
    )
    must(ONE_END, not met, f"internal errors: {met}")
    for run_id, status in known.items():
        ends = [one for one in statuses[run_id] if one not in ACTIVE]
        must(ONE_END, ends == [status] == statuses[run_id][-1:], f"{run_id} is {status}: {statuses[run_id]}")
    having = Counter(
        (run["flow_version"], run["source_key"])
        for run in runs
        if run["status"] in WITH_OUTPUT and not run["force_rerun"]
    )
    must(ONE_END, all(count == 1 for count in having.values()), f"a source was processed twice: {having}")
    for path in world.arrived:
        of_file = [run for run in runs if run["source_path"] == path]
        ends = [str(run["status"]) for run in of_file]
        numbers = [int(run["run_metadata"].get("retry", 0)) for run in of_file]
        again = numbers[1:].count(0)
        must(ONE_END, ends and again <= 2 * world.taken_again, f"{path} has arrived: {of_file}")
        for before, number, after in zip(ends, numbers, [*numbers[1:], None], strict=True):
            follows = number + 1 if before == "CRASHED" and number < RETRIES else None
            must(ONE_END, after in (follows, 0), f"{path} has the runs {of_file}")
        where = [
            name
            for name in ("done", "quarantine")
            if (world.folder / "arriving" / name / Path(path).name).exists()
        ]
        wanted = "done" if ends[-1] in WITH_OUTPUT else "quarantine"
        must(ONE_END, where == [wanted], f"{path}, whose run is {ends[-1]}, is in {where}")


async def _judge_repetitions(world: World) -> None:
    """A repetition of each request finds the run of the first."""
    before = world.asked("SELECT count(*) FROM runs")
    for key, submission in [*world.submissions.items()]:
        fields = {name: submission[name] for name in submission if name not in ("run", "refused")}
        if submission["run"] is not None and "replay" not in fields:
            again = await world.submit(key, **fields)
            must(ONE_END, again == submission["run"], f"{key} was {submission['run']}, and then {again}")
    must(ONE_END, world.asked("SELECT count(*) FROM runs") == before, "repetitions have created runs")


def _judge_accounts(world: World, runs: list[dict[str, Any]]) -> None:
    names = LedgerAccount._fields
    accounts = world.asked(f"SELECT flow, source_key, {', '.join(names)} FROM row_accounts")
    totals = defaultdict[str, list[int]](lambda: [0] * len(names))
    for flow, source, *figures in accounts:
        account = LedgerAccount(*figures)
        must(CLOSES, account.closes, f"of {flow}, {source or 'all sources'}: {account}")
        if source:
            totals[flow] = [a + b for a, b in zip(totals[flow], figures, strict=True)]
    of_flows = {flow: LedgerAccount(*figures) for flow, source, *figures in accounts if not source}
    with_output = [run for run in runs if run["status"] in WITH_OUTPUT]
    for flow in {run["flow_version"].partition(":")[0] for run in with_output}:
        account = of_flows.get(flow, LedgerAccount())
        must(CLOSES, totals[flow] == [*account], f"of {flow}: {account}, its sources have {totals[flow]}")
        of_flow = [run for run in with_output if run["flow_version"].startswith(f"{flow}:")]
        accepted = sum(run["metrics"]["rows_mapped"] for run in of_flow)
        must(
            CLOSES, account.accepted == accepted or world.purges, f"of {flow}: {account}, accepted {accepted}"
        )
        read = sum(run["metrics"]["rows_read"] for run in of_flow if not _mends(run))
        must(CLOSES, account.read == read or world.purges, f"of {flow}: {account}, read {read}")
    open_rows = dict(world.asked("SELECT flow, sum(open) FROM rejected GROUP BY flow"))
    inbox = dict(world.asked("SELECT flow, open FROM inbox WHERE reason = ''"))
    must(CLOSES, all(open_rows.get(flow, 0) == rows for flow, rows in inbox.items()), f"{inbox} are open")


def _mends(run: dict[str, Any]) -> bool:
    return bool({"resubmit_of", "replay"} & run["run_metadata"].keys())


def _judge_rows(world: World) -> None:
    ended = {run_id for (run_id,) in world.asked(f"SELECT run_id FROM runs WHERE status NOT IN {ACTIVE}")}
    claims = world.asked("SELECT run_id FROM claims")
    must(
        ROW_ENDS,
        not any(run_id in ended for (run_id,) in claims),
        f"runs that have ended have claims: {claims}",
    )
    for seq, run_id, count, left, closed in world.asked(
        "SELECT seq, run_id, count, open + lost, closed FROM rejected"
    ):
        seen = 0
        for rows, number in world.asked("SELECT rows, count FROM closings WHERE seq = ?", seq):
            must(ROW_ENDS, not seen & unpacked(rows), f"a row of {run_id} was closed twice")
            must(ROW_ENDS, unpacked(rows).bit_count() == number, f"{run_id}: a closing has {number} rows")
            seen |= unpacked(rows)
        must(ROW_ENDS, seen == (unpacked(closed) if closed else 0), f"{run_id}: rows without a closing")
        must(ROW_ENDS, (all_rows(count) & ~seen).bit_count() == left, f"{run_id}: {left} rows are open")


def _judge_messages(world: World, runs: list[dict[str, Any]]) -> None:
    ends = {(one["run_id"], one["status"]) for one in map(json.loads, world.accepted_by["webhook"])}
    events = {
        (one["run"]["runId"].replace("-", ""), one["eventType"])
        for one in map(json.loads, world.accepted_by["lineage"])
    }
    messages = " ".join(world.accepted_by["message chat://room"])
    hooked = {one["run"] for one in world.submissions.values() if "replay" not in one}
    types = {"SUCCEEDED": "COMPLETE", "PARTIAL_FAILED": "COMPLETE", "CANCELLED": "ABORT"}
    for run in runs:
        run_id, status = run["run_id"], run["status"]
        is_told = run_id not in hooked or (run_id, status) in ends
        must(AT_LEAST_ONCE, is_told, f"no webhook of {run_id}, which is {status}")
        event = (run_id.removeprefix("run_"), types.get(status, "FAIL"))
        must(AT_LEAST_ONCE, event in events, f"no event of {run_id}, which is {status}")
        is_quiet = status in ("SUCCEEDED", "CANCELLED")
        must(AT_LEAST_ONCE, is_quiet or run_id in messages, f"no message of {run_id}, which is {status}")


def _judge_output(world: World, runs: list[dict[str, Any]]) -> None:
    expected: dict[str, tuple[str, int]] = {}
    for run in runs:
        if run["status"] not in WITH_OUTPUT:
            must(OUTPUT, not any(run["target_locations"].values()), f"{run['run_id']} has locations")
            continue
        for part, place in run["target_locations"].items():
            if place is not None:
                expected[place] = (
                    run["run_id"],
                    run["metrics"]["rows_rejected" if part == "rejects" else "rows_mapped"],
                )
            else:  # a later run has removed what an earlier one had there
                earlier = str(
                    world.data / run["flow_version"].split(":")[0] / f"{run['source_path']}.rejects.csv"
                )
                expected.pop(earlier, None)
    gone = {
        json.loads(places).get(part)
        for part, places in world.asked(
            "SELECT part, target_locations FROM outputs JOIN runs USING (run_id) WHERE identity = ''"
        )
    }
    found = {
        str(path) for name in ("out", "fixed") for path in (world.data / name).rglob("*") if path.is_file()
    }
    must(
        OUTPUT,
        world.purges or found == expected.keys() - gone,
        f"there is {found ^ (expected.keys() - gone)}",
    )
    for place in expected.keys() & found:
        run_id, rows = expected[place]
        written = rows_of(Path(place))
        must(OUTPUT, len(written) == rows, f"{place} has {len(written)} rows, {run_id} {rows}")
        must(OUTPUT, len({row.text for row in written}) == rows, f"{place} has a row twice")
    uploads = [path.name for path in (world.data / "uploads").glob("*replay*")]
    must(OUTPUT, not uploads, f"files of replays are left: {uploads}")
