"""Servers with one wrong line, each of which must break an invariant within a minute of processor time.

A mutant is a copy of `lume_local` that is imported in its place, in a process of its own:
`python server/tests/simulation/mutants.py NUMBER` searches, and prints the invariant and the seconds that it took.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 60.0
"""Seconds of processor time for a search."""
ONE_END, CLOSES = "every submission has one end", "account closes"
ROW_ENDS, AT_LEAST_ONCE = "a rejected row has one end", "a message at least once"
FENCED = "nothing published by a server that lost its lease"
OUTPUT, RESTS = "output of its run, and nothing else", "comes to rest"


class Mutant(NamedTuple):
    """A line that is replaced, and the invariants of which one breaks first, in histories or a scenario.

    Attributes:
        first: the seed of histories to begin with; those before it don't find it, which takes long.
    """

    file: str
    old: str
    new: str
    breaks: tuple[str, ...]
    where: str = "one"
    first: int = 0


MUTANTS = [
    Mutant(  # no look at the lease before a commit
        "_runs/recorder.py",
        "            return await self._store.publishing.allow(run_id)\n",
        "            return True\n",
        (FENCED,),
        "several",
    ),
    Mutant(  # the loss of the lease is not noticed
        "_runs/postgres/lease.py",
        "if not cursor.rowcount:",
        "if cursor is None:",
        (RESTS, ONE_END),
        "several",
        first=12,
    ),
    Mutant(  # an end is written twice
        "_runs/sql/sql_store.py",
        '        await self.feed.note(run_id, status, values.get("finished_at"))\n',
        '        await self.feed.note(run_id, status, values.get("finished_at"))\n' * 2,
        (ONE_END,),
        "run",
    ),
    Mutant(  # a source that was processed is processed again
        "_runs/sql/sql_store.py",
        "or (done_run is not None and not new.force_rerun):",
        "and new.force_rerun:",
        (ONE_END, RESTS),
    ),
    Mutant(  # an entry leaves the outbox before it is delivered
        "_runs/deliveries/outbox.py",
        "            error = await self._carriers",
        "            await self._note(delivery, None)\n            error = await self._carriers",
        (AT_LEAST_ONCE,),
        "one",
    ),
    Mutant(  # the messages of a notice are lost
        "_runs/sql/sql_outbox.py",
        "for new in deliveries:",
        "for new in deliveries[1:]:",
        (AT_LEAST_ONCE,),
        "run",
    ),
    Mutant(  # the ledger is written in another transaction than the end of the run
        "_runs/sql/ledger_entries.py",
        "        await self._account(flow, source, **read, accepted=mapped, filtered=filtered)\n",
        '        await self.sql.change("COMMIT")\n        await self.sql.change("BEGIN IMMEDIATE")\n'
        "        await self._account(flow, source, **read, accepted=mapped, filtered=filtered)\n",
        (CLOSES,),
        "rejects",
    ),
    Mutant(  # a row is closed a second time
        "_runs/sql/ledger_entries.py",
        'all_rows(row["count"]) & ~before',
        'all_rows(row["count"])',
        (ROW_ENDS, CLOSES),
        "one",
        first=76,
    ),
    Mutant(  # claims stay after the end
        "_runs/sql/ledger_entries.py",
        '            await self.sql.change("DELETE FROM claims WHERE run_id = ?", [run.run_id])\n',
        "            pass\n",
        (ROW_ENDS,),
        "replay",
    ),
    Mutant(  # a key is not recorded
        "_runs/sql/sql_store.py",
        "        if new.idempotency_key is not None:\n            values",
        "        if new.force_rerun:\n            values",
        (ONE_END,),
        "one",
    ),
    Mutant(  # a commit is not carried out after a crash
        "_runs/recovery/settle.py",
        "(record := commit.committed(self._paths.folder(run.run_id))) is not None",
        "(record := None) is not None",
        (OUTPUT,),
        "run",
    ),
    Mutant(  # the proof of a commit is removed before the end is recorded
        "_runs/execution.py",
        "                await recorder.succeed(run.run_id, record)\n",
        "                await run_sync(self._paths.clean_up, run)\n"
        "                await recorder.succeed(run.run_id, record)\n",
        (OUTPUT,),
        "run",
    ),
    Mutant(  # runs that had begun are forgotten by the next server
        "_runs/runner.py",
        "if run.status != RunStatus.CREATED or committed(self._paths.folder(run.run_id)) is not None:",
        "if committed(self._paths.folder(run.run_id)) is not None:",
        (RESTS, ONE_END),
        "one",
    ),
    Mutant(  # the rows of a replay are not claimed
        "_runs/sql/sql_store.py",
        "        if claims:\n            await self.ledger",
        "        if not run_id:\n            await self.ledger",
        (CLOSES, ROW_ENDS),
        "replay",
    ),
    Mutant(  # an arrived file is not recorded with its run
        "_arrivals/submission.py",
        "arrived=file.arrived if",
        "arrived=None if",
        (ONE_END, RESTS),
        "arrival",
    ),
    Mutant(  # a crashed run of an arrived file is not repeated
        "_arrivals/watcher.py",
        'if move.status != "CRASHED" or',
        'if move.status != "FAILED" or',
        (ONE_END,),
        "arrival",
    ),
    Mutant(  # a failed file is moved as if it had been processed
        "_arrivals/watcher.py",
        "folder = self.arrival.move if is_due else self.arrival.failed",
        "folder = self.arrival.move",
        (ONE_END,),
        "failed_arrival",
    ),
    Mutant(  # a step of a commit is not repeated where a file is missing already
        "_shared/commit.py",
        "        if not no_links.exists(target):\n            raise\n",
        "        raise\n",
        (OUTPUT, ONE_END, RESTS),
        "rerun",
    ),
    Mutant(  # a file of rejects that a later run replaces by nothing stays
        "_shared/commit.py", '    remove_if(place, step["was"], step["run"])\n', "", (OUTPUT,), "rerun"
    ),
]


def searched(number: int) -> tuple[str, float]:
    """Return the invariant that the mutant breaks, and the seconds of processor time until then."""
    mutant = MUTANTS[number]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "lume_local"
        shutil.copytree(ROOT / "server" / "lume_local", copy)
        text = (copy / mutant.file).read_text()
        assert text.count(mutant.old) == 1, f"{mutant.file} has {text.count(mutant.old)} times {mutant.old!r}"
        (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new))
        program = [sys.executable, __file__, folder, mutant.where, str(mutant.first)]
        said = subprocess.run(program, capture_output=True, text=True, timeout=1200, check=False)
        invariant, _, seconds = said.stdout.strip().rpartition("\n")[2].partition("|")
        assert seconds, f"{said.stdout}\n{said.stderr}"
        return invariant, float(seconds)


def _attempts(where: str, first: int) -> Iterator[Callable[[], object]]:
    """Yield histories of a kind, or the points of a scenario."""
    from server.tests.simulation import histories, scenarios

    if where in histories.KINDS:
        yield from (partial(histories.carried_out, histories.drawn(where, seed)) for seed in count(first))
    number = 2 * len(scenarios.visit(where, None).names)
    for turn in range(number):
        at = turn * 61 % number
        yield partial(scenarios.visit, where, (at // 2, bool(at % 2)))


def search(where: str, first: int) -> tuple[str, float]:
    """Return the invariant that breaks first; empty if none does within the limit."""
    from server.tests.simulation.world import Violation

    try:
        for attempt in _attempts(where, first):
            if time.process_time() > LIMIT:
                return "", time.process_time()
            attempt()
    except Violation as violation:
        return violation.invariant, time.process_time()
    except Exception as error:
        return type(error).__name__, time.process_time()
    return "", time.process_time()


if __name__ == "__main__":
    sys.path[:0] = [sys.argv[1], str(ROOT)]
    print("|".join(map(str, search(sys.argv[2], int(sys.argv[3])))))
