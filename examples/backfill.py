"""Process many sources again with bounded concurrency; after a kill, the same command finishes the rest.

    python examples/server.py                # prints the `export` line for the terminal of the next commands
    for n in 1 2 3 4; do python examples/make_customers.py batches/$n.csv ${n}00; done
    ls batches/*.csv > paths.txt
    python examples/backfill.py paths.txt state.db

The exit code is that of the worst outcome: 0 all rows mapped, 5 some rejected, 124 not ended in time, 3 FAILED,
6 CRASHED or CANCELLED, 1 not submitted or not followed, 130 Ctrl-C.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import lume_sync as lume

FLOW_VERSION = "customer_cleaner:v1"
MAX_ACTIVE = 20  # unfinished runs at a time: this job's share of the service
TIMEOUT = 6 * 3600  # seconds; without one, it would wait for a server that is gone for ever
WORST_FIRST = (1, 6, 3, 124, 5, 0)


def requests(paths: Path) -> Iterator[lume.RunRequest]:
    # From a file, not from a folder that may change: with a journal the input must be the same each time.
    for line in paths.read_text(encoding="utf-8").splitlines():
        if source := line.strip():
            # force_rerun: these sources were processed before. The journal keeps an interrupted batch from
            # processing them twice.
            yield lume.RunRequest(FLOW_VERSION, source, force_rerun=True)


def code_of(outcome: lume.Outcome[lume.LumeRun]) -> int:
    if outcome.run is None:
        return 124 if isinstance(outcome.error, lume.RunTimeoutError) else 1
    match outcome.run.status:
        case lume.RunStatus.SUCCEEDED:
            return 0
        case lume.RunStatus.PARTIAL_FAILED:
            return 5
        case lume.RunStatus.CRASHED | lume.RunStatus.CANCELLED:
            return 6
        case _:  # FAILED, or a status that did not exist when this was written: never a success
            return 3


def main(paths: Path, journal: Path) -> int:
    summary, codes = lume.Summary(), {0}
    try:
        with lume.run_many(
            requests(paths), max_active=MAX_ACTIVE, journal=journal, timeout=TIMEOUT
        ) as outcomes:
            for outcome in outcomes:
                summary.add(outcome)
                codes.add(code_of(outcome))
                print(outcome.run_id, outcome.run.status if outcome.run else outcome.error, file=sys.stderr)
    except KeyboardInterrupt:
        print(
            "interrupted; started runs keep running, the same command finishes the rest",
            file=sys.stderr,
        )
        return 130
    print(summary)
    return min(codes, key=WORST_FIRST.index)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Process many sources again.")
    parser.add_argument("paths", type=Path, help="a file with one source per line")
    parser.add_argument("journal", type=Path, help="the journal of this batch; created if it does not exist")
    given = parser.parse_args()
    sys.exit(main(given.paths, given.journal))
