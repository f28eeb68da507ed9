"""Play histories against a mutant of the library, in a process of its own, until an invariant does not hold.

Used as a program, inside such a process: `python -m simulation.mutation 'journaled plain' 0`.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, frozen

REPOSITORY = Path(__file__).parents[2]
HISTORIES_AT_MOST, SECONDS_AT_MOST = 6000, 60.0
"""The histories and the seconds of CPU that a mutant may survive."""


@frozen
class Mutant:
    """A fault put into the library.

    Attributes:
        file: the module, relative to `lume_async`.
        old: a text that occurs once in it; `new` takes its place.
        kinds: the kinds of histories that find it, separated by blanks.
        breaks: the invariant that does not hold then, as the failure names it.
        first: the seed to begin with; those before it don't find it, which takes long.
    """

    file: str
    old: str
    new: str
    kinds: str
    breaks: str
    first: int = 0

    def text(self) -> str:
        """Return the module with the fault."""
        text = (REPOSITORY / "lume_async" / self.file).read_text()
        assert text.count(self.old) == 1, f"{self.file} has {self.old!r} {text.count(self.old)} times"
        return text.replace(self.old, self.new)


@define
class Survival:
    """What became of a mutant.

    Attributes:
        histories: the number of histories that were played.
        seconds: the CPU that they took.
        failure: the history that failed and why; empty if none did.
    """

    histories: int
    seconds: float
    failure: str = ""


def survival(mutant: Mutant) -> Survival:
    """Play the histories of a mutant's kinds until one fails."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "lume_async"
        shutil.copytree(REPOSITORY / "lume_async", package)
        (package / mutant.file).write_text(mutant.text())
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "simulation.mutation", mutant.kinds, str(mutant.first)],
            env={
                **os.environ,
                "PYTHONPATH": f"{folder}:{REPOSITORY / 'tests'}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=folder,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, f"{mutant.file}: the process ended with {done.returncode}: {done.stderr}"
    return Survival(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Play until a history fails, and print what `Survival` holds."""
    import lume_async
    from simulation.histories import HISTORIES
    from simulation.world import play

    assert lume_async.__file__.startswith(os.getcwd()), "the mutant is not the library that is imported"
    # An endless loop between two turns can't be noticed from inside.
    resource.setrlimit(resource.RLIMIT_CPU, (int(2 * SECONDS_AT_MOST), int(2 * SECONDS_AT_MOST)))
    began, played = time.process_time(), 0
    for seed in count(int(sys.argv[2])):
        for kind in sys.argv[1].split():
            took = time.process_time() - began
            if took > SECONDS_AT_MOST or played >= HISTORIES_AT_MOST:
                print(json.dumps({"histories": played, "seconds": took}))
                return
            played += 1
            try:
                play(HISTORIES[kind][0], seed)
            except (Exception, SystemExit) as error:
                took = time.process_time() - began
                failure = f"{kind} {seed}: {type(error).__name__}: {error}"
                print(json.dumps({"histories": played, "seconds": took, "failure": failure}))
                return


if __name__ == "__main__":
    main()
