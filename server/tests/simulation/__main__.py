"""Repeats a history, or the crash points of a scenario.

    python server/tests/simulation one 17           a history of a server alone, with seed 17
    python server/tests/simulation several 17       one of several servers over a state
    python server/tests/simulation run 120 after    the scenario `run`, killed after its point 120
    python server/tests/simulation all              every crash point of every scenario
    python server/tests/simulation run              what the points of the scenario are

A history that fails is shrunk, and shown.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "server")]

from server.tests.simulation import histories, scenarios  # noqa: E402


def main(arguments: list[str]) -> None:
    match arguments:
        case [kind, seed] if kind in histories.KINDS:
            plan = histories.drawn(kind, int(seed))
            if not histories.failure(plan):
                print(f"nothing is wrong: {histories.carried_out(plan).digest}")
                return
            plan = histories.shrunk(plan)
            print(*plan.acts, f"faults {plan.faults}", f"kills {plan.kills}", f"loop {plan.loop}", sep="\n")
            histories.carried_out(plan)
        case [name] if name in scenarios.SCENARIOS:
            print(*enumerate(scenarios.visit(name, None).names), sep="\n")
        case ["all"]:
            for name in scenarios.SCENARIOS:
                print(name, len(list(scenarios.sweep(name, 1))), flush=True)
        case [name, number, when] if name in scenarios.SCENARIOS and when in ("before", "after"):
            scenarios.visit(name, (int(number), when == "after"))
            print("nothing is wrong")
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
