"""Tasks for the tests of executors."""

import os
import signal
import time
from pathlib import Path
from typing import Any


def double(argument: dict[str, Any]) -> dict[str, Any]:
    return {"value": 2 * argument["value"], "pid": os.getpid()}


def die_once(argument: dict[str, Any]) -> dict[str, Any]:
    """Kill its own process, but for the time after that."""
    mark = Path(argument["mark"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": argument["value"]}


def die(argument: dict[str, Any]) -> dict[str, Any]:
    """Kill its own process, every time."""
    with Path(argument["log"]).open("a") as log:
        log.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def work_on(argument: dict[str, Any]) -> dict[str, Any]:
    """Work until it is killed."""
    Path(argument["mark"]).write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def fail(argument: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError("no such thing")


def stop_itself(argument: dict[str, Any]) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSTOP)
    return {}


def double_or_work_on(argument: dict[str, Any]) -> dict[str, Any]:
    return double(argument) if "value" in argument else work_on(argument)


def work_on_the_first_time(argument: dict[str, Any]) -> dict[str, Any]:
    """Work until it is killed, but for the time after that."""
    return {"value": argument["value"]} if Path(argument["mark"]).exists() else work_on(argument)


def beat(argument: dict[str, Any]) -> dict[str, Any]:
    """Write to a file again and again, until somebody ends it."""
    beats = 0
    while True:
        beats += 1
        Path(argument["mark"]).write_text(str(beats))
        time.sleep(0.01)
