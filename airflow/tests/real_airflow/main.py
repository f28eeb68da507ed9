"""Runs the scenarios one after the other on one deployment, and prints a table of what came of them."""

import argparse
import re
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path

from real_airflow.deployment import deployment, free_port
from real_airflow.judge import judge
from real_airflow.postgres import postgres
from real_airflow.rest import Api
from real_airflow.scenarios import SCENARIOS, Stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/test-airflow", description=__doc__)
    parser.add_argument("-k", default="", help="a pattern: only scenarios with such a name")
    parser.add_argument("--tasks", type=int, default=200, help="tasks in direct mode")
    parser.add_argument("--batch", type=int, default=2000, help="sources of the batch")
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments")
    parser.add_argument(
        "--keep", action="store_true", help="leave the folder with the logs, as after a failure"
    )
    sizes = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way everything that was started ends
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="lume-airflow-"))
    home.chmod(0o755)  # PostgreSQL runs as another user
    with postgres(home / "postgres", free_port()) as database, judge(home) as counting:
        server = (counting.server.base_url, counting.server.api_key)
        with deployment(home, database, server) as airflow:
            api = Api(airflow)
            api.ready("single", "short", "mapped", "direct", "batch", "waiting", "daily")
            stage = Stage(airflow, api, counting)
            failed = [
                name for name in SCENARIOS if re.search(sizes.k, name) and not tried(name, stage, sizes)
            ]
            print(f"{stage.kills} kills, {len(counting.runs()):,} runs", flush=True)
    if failed or sizes.keep:
        print("".join(f"Failed: {name}\n" for name in failed) + f"The logs: {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return bool(failed)


def tried(name: str, stage: Stage, sizes: argparse.Namespace) -> bool:
    """One scenario and its line of the table; whether it went as it should."""
    begun = time.monotonic()
    try:
        said = SCENARIOS[name](stage, sizes)
    except Exception:
        traceback.print_exc()
        said = ""
    print(f"| {name} | {said or 'FAILED'} | {time.monotonic() - begun:.0f} s |", flush=True)
    return bool(said)


if __name__ == "__main__":
    raise SystemExit(main())
