"""Which policy bears both a limit and refusals at random? The library's throttle beside none, and beside six others.

    python -m benchmarks.throttle            # simulated: prints the tables, writes docs/img/throttle.svg
    python -m benchmarks.throttle --real     # real servers on 127.0.0.1 and real time, three rounds

A crowd of runs is polled in virtual time (`tests/crowd.py`), before servers that limit in each of the ways that are
in use (`tests/limits.py`): nothing is measured, every figure is the same on every machine. Medians over eight seeds,
and the worst of them. `ideal` is a client that knows the limit from the tenth refusal on (`crowd.Ideal`): no client
is refused less that keeps the promises of docs/design/throttle.md. A star: more than 1.5 times the ideal.
"""

import argparse
import asyncio
import itertools
import math
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from crowd import Crowd, Ideal, Policy, Result, Throttled, Unlimited
from limits import (
    ChangingRate,
    Concurrency,
    FixedWindow,
    LeakyQueue,
    LimitedServer,
    SlidingWindow,
    TokenBucket,
)
from real_limits import Measured, Server, haproxy, loopback, nginx
from real_limits import crowd as real_crowd

from benchmarks._bench import IMAGES
from benchmarks.throttle.policies import AimdConcurrency, AnyRefusalCuts, AwsAdaptive, Gradient2, SreAdaptive
from lume_async import Client
from lume_async._http.throttle import Throttle
from lume_async._wire.answers import Refusal

SEEDS = range(8)
FREE = 3.0
"""Seconds without a limit before it begins, in every other row."""

ANSWERS = (0.001, 0.02)
"""Seconds that an answer takes."""

MakesServer: TypeAlias = Callable[[], LimitedServer]


@dataclass(frozen=True)
class Case:
    name: str
    runs: int
    server: MakesServer
    lasts: float = 4.0
    clients: int = 1


def at_random(runs: int, bad: float) -> Case:
    return Case(f"{bad:.0%} at random, {runs:,} runs", runs, lambda: LimitedServer(bad=bad))


LIMITED = Case("100/s burst 100, 5,000 runs of 30 s", 5_000, lambda: LimitedServer(TokenBucket(100)), 30.0)
BOTH = Case(
    "100/s and 20 % at random, 5,000 of 30 s", 5_000, lambda: LimitedServer(TokenBucket(100), bad=0.2), 30.0
)
RANDOM = [at_random(runs, bad) for runs in (50, 1_000) for bad in (0.05, 0.1, 0.2, 0.4)]
SAYING = {"": None, ", Retry-After": "Retry-After", ", RateLimit": "RateLimit"}
"""What a refusal says of the limit, by the end of the case's name."""

LOW = [
    Case(
        f"{rate}/s burst {burst}, 300 runs{end}",
        300,
        lambda rate=rate, burst=burst, says=says: LimitedServer(TokenBucket(rate, burst), says=says),
    )
    for rate in (20, 10)
    for burst in (rate, 1)
    for end, says in list(SAYING.items())[:2]
]
"""Few runs before a low limit; a bucket of one is nginx' `limit_req` without a burst."""

CASES = [
    *LOW,
    Case("two clients, 20/s burst 20, 300 runs", 300, lambda: LimitedServer(TokenBucket(20, 20)), clients=2),
    Case("two clients, 20/s burst 1, 300 runs", 300, lambda: LimitedServer(TokenBucket(20, 1)), clients=2),
    Case("100/s burst 100, 3,000 runs", 3_000, lambda: LimitedServer(TokenBucket(100))),
    Case("100/s burst 10, 2,000 runs of 20 s", 2_000, lambda: LimitedServer(TokenBucket(100, 10)), 20.0),
    Case("50/s, 1,000 runs", 1_000, lambda: LimitedServer(TokenBucket(50))),
    Case("400/s, 4,000 runs", 4_000, lambda: LimitedServer(TokenBucket(400))),
    LIMITED,
    Case("nginx limit_req 100/s burst 20, 1,000", 1_000, lambda: LimitedServer(LeakyQueue(100, 20))),
    *(
        Case(
            f"haproxy 100/s, 1,000 runs{end}",
            1_000,
            lambda says=says: LimitedServer(SlidingWindow(100), says=says),
        )
        for end, says in SAYING.items()
    ),
    Case("haproxy 100/s, 3,000 runs", 3_000, lambda: LimitedServer(SlidingWindow(100))),
    Case(
        "sliding window 100, 1,000 runs",
        1_000,
        lambda: LimitedServer(SlidingWindow(100, counts_refused=False)),
    ),
    Case("fixed window 100, 1,000 runs", 1_000, lambda: LimitedServer(FixedWindow(100))),
    Case("fixed window 100, 3,000 runs", 3_000, lambda: LimitedServer(FixedWindow(100))),
    *(
        Case(
            f"600 a minute, 1,500 runs{end}",
            1_500,
            lambda says=says: LimitedServer(FixedWindow(600, 60.0), says=says),
        )
        for end, says in SAYING.items()
    ),
    Case("concurrency 32 x 50 ms, 4,000 runs", 4_000, lambda: LimitedServer(Concurrency(32, 0.05))),
    Case("concurrency 4 x 50 ms, 1,000 runs", 1_000, lambda: LimitedServer(Concurrency(4, 0.05))),
    Case(
        "100/10/1000 per s, 3,000 of 20 s", 3_000, lambda: LimitedServer(ChangingRate(100, 10, 1_000)), 20.0
    ),
    Case(
        "503 for 20 s, then 100/s, 2,000", 2_000, lambda: LimitedServer(TokenBucket(100), outage=(0.0, 20.0))
    ),
    Case("outage of 30 s, 1,000 runs of 30 s", 1_000, lambda: LimitedServer(outage=(10.0, 40.0)), 30.0),
    Case("two clients, 100/s, 3,000 runs", 3_000, lambda: LimitedServer(TokenBucket(100)), clients=2),
    Case("two clients, haproxy, 3,000 runs", 3_000, lambda: LimitedServer(SlidingWindow(100)), clients=2),
    BOTH,
    Case("100/s and 1 % at random, 3,000 runs", 3_000, lambda: LimitedServer(TokenBucket(100), bad=0.01)),
    *RANDOM,
]
PLAIN, IDEAL = "none", "ideal"
WITHIN = 1.5
"""The factor of the ideal that is the aim."""


@dataclass(frozen=True)
class Job:
    """One crowd: `CASES[case]`, before which policy, with which seed."""

    case: int
    policy: str
    seed: int
    took: float
    free: float


def simulate(job: Job) -> tuple[Result, float]:
    """What came of it, and how long after an outage a request was taken again."""
    case = CASES[job.case]
    server = case.server()
    server.free_until = job.free
    policies = {OURS: Throttled, PLAIN: Unlimited, IDEAL: lambda: Ideal(server)}
    crowd = Crowd(
        case.runs, server, policies[job.policy], job.seed, case.lasts, job.took, clients=case.clients
    )
    return crowd.end(), server.back_after


def tables() -> None:
    """Each case in four ways: the throttle beside none and beside the ideal."""
    policies = [(policy, seed) for policy in (OURS, IDEAL) for seed in SEEDS]
    policies += [(PLAIN, seed) for seed in SEEDS[:2]]
    rows = [
        [Job(n, policy, seed, took, free) for policy, seed in policies]
        for n, took, free in itertools.product(range(len(CASES)), ANSWERS, (0.0, FREE))
    ]
    print(f"{'':40} {'answers':>7} {'free':>5} {'last':>8} {'worst':>8} {'ideal':>8} {'refused':>8}", end="")
    print(f" {'worst':>7} {'times':>5} {'ideal':>5} {'no throttle':>12} {'refused':>8}")
    with ProcessPoolExecutor() as processes:
        results = processes.map(simulate, itertools.chain(*rows))
        for jobs in rows:
            found = {job: next(results) for job in jobs}
            print(line(CASES[jobs[0].case], jobs[0].took, jobs[0].free, found), flush=True)


def line(case: Case, took: float, free: float, found: dict[Job, tuple[Result, float]]) -> str:
    ours, plain, ideal = (
        [result for job, result in found.items() if job.policy == policy] for policy in (OURS, PLAIN, IDEAL)
    )
    lasts, shares = [result.last for result, _ in ours], [result.refused for result, _ in ours]
    last, best = (statistics.median(result.last for result, _ in found) for found in (ours, ideal))
    times, least = (statistics.median(result.refusals for result, _ in found) for found in (ours, ideal))
    text = (
        f"{case.name:40} {took * 1_000:4.0f} ms {free:3.0f} s {seconds(last):>8}{star(last, best)}"
        f"{seconds(max(lasts)):>8} {seconds(best):>8} {statistics.median(shares):8.1%}"
        f" {max(shares):7.1%} {times:5.0f}{star(times, least)}{least:5.0f}"
        f" {seconds(statistics.median(result.last for result, _ in plain)):>12}"
        f" {statistics.median(result.refused for result, _ in plain):8.1%}"
    )
    if ours[0][0].in_outage:
        text += f"  {max(result.in_outage for result, _ in ours)} requests in the outage"
        text += f", back after {seconds(max(back for _, back in ours))}"
    if case.clients > 1:
        text += f"  {max(max(result.taken) / min(result.taken) for result, _ in ours):.1f} : 1"
    return text


def star(value: float, ideal: float) -> str:
    return "*" if value > WITHIN * ideal else " "


def seconds(value: float) -> str:
    return "never" if value == math.inf else f"{value:.1f} s"


# Real servers


class NoThrottle(Throttle):
    """It never slows down."""

    def refused(self, now: float, epoch: int, refusal: Refusal) -> None:
        pass


def without(client: Client) -> None:
    client._sender._throttle = NoThrottle()


REAL: dict[str, tuple[int, Callable[[], Server]]] = {
    "loopback 100/s after 3 s without, 3,000 runs": (
        3_000,
        lambda: loopback(LimitedServer(TokenBucket(100), free_until=FREE)),
    ),
    "the same, RateLimit": (
        3_000,
        lambda: loopback(LimitedServer(TokenBucket(100), free_until=FREE, says="RateLimit")),
    ),
    "loopback concurrency 32 x 50 ms, 4,000 runs": (
        4_000,
        lambda: loopback(LimitedServer(Concurrency(32, 0.05))),
    ),
    "nginx limit_req 100/s burst 20, 1,000 runs": (
        1_000,
        lambda: nginx(
            "limit_req_zone $binary_remote_addr zone=z:1m rate=100r/s", "limit_req zone=z burst=20"
        ),
    ),
    "nginx limit_conn 4, 1,000 runs": (
        1_000,
        lambda: nginx("limit_conn_zone $binary_remote_addr zone=z:1m", "limit_conn z 4", work=0.05),
    ),
    "haproxy stick-table 100/s, 1,000 runs": (1_000, lambda: haproxy(100)),
}
"""Runs and server, by name."""

PATIENCE, ROUNDS = 90.0, 3
"""Seconds after which a crowd is given up, and how often each is measured."""


async def real(server: Server, runs: int, prepare: Callable[[Client], None] | None) -> Measured | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await real_crowd(server, runs, prepare)
    except TimeoutError:
        return None


def real_servers() -> None:
    print(f"{'':46} {'last':>8} {'worst':>8} {'refused':>8} {'worst':>7} {'no throttle':>12} {'refused':>8}")
    for name, (runs, server) in REAL.items():
        try:
            rounds = [asyncio.run(real(server(), runs, None)) for _ in range(ROUNDS)]
            plain = asyncio.run(real(server(), runs, without))
        except BaseException as missing:
            if type(missing).__name__ != "Skipped":
                raise
            print(f"{name:46} {missing}")
            continue
        lasts = [math.inf if found is None else found.last for found in rounds]
        shares = [math.nan if found is None else found.refused for found in rounds]
        print(
            f"{name:46} {seconds(statistics.median(lasts)):>8} {seconds(max(lasts)):>8}"
            f" {statistics.median(shares):8.1%} {max(shares):7.1%}"
            f" {seconds(math.inf if plain is None else plain.last):>12}"
            f" {'' if plain is None else format(plain.refused, '8.1%'):>8}",
            flush=True,
        )


# Other policies


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


def contest() -> None:
    medians: dict[tuple[str, str], tuple[float, float]] = {}
    for case in (LIMITED, at_random(1_000, 0.2), BOTH):
        print(f"\n{case.name}")
        print(f"  {'':30} {'last':>9} {'worst':>9} {'over limit':>10} {'worst':>8} {'requests':>10}")
        for contestant in CONTESTANTS:
            found = [
                Crowd(
                    case.runs, case.server(), contestant.policy, seed, case.lasts, quick=contestant.quick
                ).end()
                for seed in SEEDS
            ]
            lasts, shares = [result.last for result in found], [result.over_limit for result in found]
            last, share = statistics.median(lasts), statistics.median(shares)
            sent = statistics.median(result.sent for result in found)
            print(
                f"  {contestant.name:30} {seconds(last):>9} {seconds(max(lasts)):>9}"
                f" {share:10.1%} {max(shares):8.1%} {sent:10,.0f}",
                flush=True,
            )
            medians[case.name, contestant.name] = last, share
    (IMAGES / "throttle.svg").write_text(picture(medians))
    print("\nplot: docs/img/throttle.svg")


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


def main() -> None:
    parser = argparse.ArgumentParser(description="The throttle against limits and refusals at random.")
    parser.add_argument("--real", action="store_true", help="real servers, in real time")
    if parser.parse_args(sys.argv[1:]).real:
        real_servers()
    else:
        tables()
        contest()


if __name__ == "__main__":
    main()
