"""What the benchmarks share: a report of the machine, interleaved rounds, medians and ratios."""

import gc
import importlib.metadata
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "docs" / "img"
ROUNDS = int(os.environ.get("ROUNDS", "7"))


def header(*packages: str) -> None:
    """Machine and versions: a number without them says nothing."""
    versions = [f"{name} {version(name)}" for name in packages if version(name)]
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    print(f"{cpu}, {os.cpu_count()} cores, {platform.python_implementation()} {sys.version.split()[0]}")
    print(", ".join(versions))


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def interleaved(
    contestants: Mapping[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Every contestant once per round, so that a slow moment of the machine hits all alike.

    Each round begins with another one: who comes after a heavy one finds the caches cold.
    """
    results: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for n in range(rounds):
        for name in names[n % len(names) :] + names[: n % len(names)]:
            gc.collect()
            results[name].append(contestants[name]())
    return results


def table(results: Mapping[str, list[float]], base: str, *, unit: str, scale: float = 1.0) -> None:
    """Medians, and the median of the ratios to `base` within each round."""
    print(f"\n{'':44} {unit:>10} {'x ' + base:>24}")
    for name, values in results.items():
        ratios = [mine / its for mine, its in zip(values, results[base], strict=True)]
        print(f"{name:44} {statistics.median(values) * scale:10.1f} {statistics.median(ratios):24.2f}")


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.readlines()
    except OSError:
        return []
