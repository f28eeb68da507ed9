"""Which policy bears both a rate limit and refusals at random? The library's throttle beside six others.

A crowd of runs is polled in virtual time (`tests/crowd.py`): nothing is measured, every figure is the same on every
machine. Prints medians over eight seeds and the worst of them; writes docs/img/throttle.svg.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _policies import AimdConcurrency, AnyRefusalCuts, AwsAdaptive, Gradient2, SreAdaptive
from crowd import Crowd, LimitedServer, Policy, Result, Throttled, Unlimited

SEEDS = range(8)


@dataclass(frozen=True)
class Contestant:
    name: str
    policy: Callable[[], Policy]
    quick: bool = True


OURS = "lume_async"
CONTESTANTS = [
    Contestant(OURS, Throttled),
    Contestant("back-off of each request", Unlimited),
    Contestant("any refusal cuts", AnyRefusalCuts),
    Contestant("the same, slow polls (before)", AnyRefusalCuts, quick=False),
    Contestant("SRE adaptive, K = 2", SreAdaptive),
    Contestant("AWS adaptive", AwsAdaptive),
    Contestant("AIMD concurrency", AimdConcurrency),
    Contestant("gradient2", Gradient2),
]


@dataclass(frozen=True)
class Case:
    name: str
    runs: int
    server: Callable[[], LimitedServer]
    lasts: float = 4.0


def at_random(runs: int, bad: float) -> Case:
    return Case(f"{bad:.0%} refused at random, {runs:,} runs", runs, lambda: LimitedServer(bad=bad))


SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
AT_RANDOM = [at_random(runs, bad) for runs in (50, 1_000) for bad in SHARES]
LIMITED = Case("limit 100/s, 5,000 runs of 30 s", 5_000, lambda: LimitedServer(100), 30.0)
BOTH = Case("limit 100/s and 20 % at random, 5,000", 5_000, lambda: LimitedServer(100, bad=0.2), 30.0)
OTHERS = [
    Case("20 % at random with Retry-After: 1", 1_000, lambda: LimitedServer(bad=0.2, retry_after=1.0)),
    LIMITED,
    Case(
        "the same, burst 10, Retry-After: 1", 5_000, lambda: LimitedServer(100, 10.0, retry_after=1.0), 30.0
    ),
    Case("limit 100/s, 2,000 runs of 4 s", 2_000, lambda: LimitedServer(100)),
    BOTH,
    Case("outage of 30 s, 1,000 runs of 30 s", 1_000, lambda: LimitedServer(outage=(10.0, 40.0)), 30.0),
]


def results(case: Case, contestant: Contestant) -> list[Result]:
    return [
        Crowd(case.runs, case.server(), contestant.policy(), seed, case.lasts, contestant.quick).end()
        for seed in SEEDS
    ]


def row(name: str, found: list[Result]) -> str:
    lasts, refused = [result.last for result in found], [result.over_limit for result in found]
    sent = statistics.median(result.sent for result in found)
    return (
        f"  {name:30} {seconds(statistics.median(lasts)):>9} {seconds(max(lasts)):>9}"
        f" {statistics.median(refused):10.1%} {max(refused):8.1%} {sent:10,.0f}"
    )


def seconds(value: float) -> str:
    return "never" if value == math.inf else f"{value:.1f} s"


def main() -> None:
    medians: dict[tuple[str, str], tuple[float, float]] = {}
    for case in (*AT_RANDOM, *OTHERS):
        print(f"\n{case.name}")
        print(f"  {'':30} {'last':>9} {'worst':>9} {'over limit':>10} {'worst':>8} {'requests':>10}")
        for contestant in CONTESTANTS:
            found = results(case, contestant)
            print(row(contestant.name, found), flush=True)
            last = statistics.median(result.last for result in found)
            medians[case.name, contestant.name] = (
                last,
                statistics.median(result.over_limit for result in found),
            )
    target = Path(__file__).parents[1] / "docs" / "img" / "throttle.svg"
    target.write_text(picture(medians))
    print(f"\nplot: {target.relative_to(target.parents[2])}")


WIDTH, HEIGHT, LEFT, BAR = 760, 300, 190, 26
GOOD, POOR = "#2a7ab9", "#b9b9b9"


def picture(medians: dict[tuple[str, str], tuple[float, float]]) -> str:
    """Two rows of bars, drawn by hand: a plotting library would be the only reason to install one."""
    shown = [contestant for contestant in CONTESTANTS if contestant.quick]
    bad = at_random(1_000, 0.2).name
    bars = []
    for n, contestant in enumerate(shown):
        y, colour = 58 + n * (BAR + 6), GOOD if contestant.name == OURS else POOR
        refused = medians[LIMITED.name, contestant.name][1]
        last = medians[bad, contestant.name][0]
        bars += [
            text(LEFT - 8, y + 17, contestant.name, "end"),
            bar(LEFT, y, 200 * refused, colour),
            text(LEFT + 200 * refused + 5, y + 17, f"{refused:.0%}"),
            bar(LEFT + 280, y, 200 * min(1.0, last / 40), colour),
            text(LEFT + 280 + 200 * min(1.0, last / 40) + 5, y + 17, seconds(last)),
        ]
    titles = [
        text(LEFT, 24, "refused by a limit of 100 requests/s"),
        text(LEFT, 42, "5,000 runs"),
        text(LEFT + 280, 24, "last of 1,000 runs of 4 s seen to end"),
        text(LEFT + 280, 42, "20 % of the answers refused at random"),
    ]
    lines = "\n".join([*titles, *bars])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        f' font-size="13">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{lines}\n</svg>\n'
    )


def bar(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.0f}" y="{y}" width="{max(1.0, width):.1f}" height="{BAR}" fill="{colour}"/>'


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y}" text-anchor="{anchor}">{words}</text>'


if __name__ == "__main__":
    main()
