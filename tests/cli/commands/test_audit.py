"""`lume audit`: who did what, from the command line."""

import json
from collections.abc import Callable

from cli.shell import Shell

from lume_sync import Client


def test_what_was_done(shell: Shell, client: Client, source: Callable[..., str]) -> None:
    run = client.run("people:v1", source(), force_rerun=True)
    run.wait(30)
    run.dismiss("known")
    done = shell.lume("audit", "--by", "server", "--since", "1h")
    assert done.code == 0, done.err
    header, first = done.out.splitlines()[:2]
    assert header.split() == ["AT", "BY", "WHAT", "SUBJECT", "DETAIL"]
    assert first.split()[2:] == ["server", "dismiss", run.id, "why", "known"]
    (entry,) = json.loads(shell.lume("audit", "--what", "dismiss", "--limit", "1", "-o", "json").out)
    assert (entry["subject"], entry["detail"]) == (run.id, {"why": "known"})
    line = json.loads(shell.lume("audit", "--limit", "1", "-o", "ndjson").out)
    assert line == entry
    nothing = shell.lume("audit", "--by", "nobody")
    assert (nothing.code, nothing.err) == (0, "no acts match\n")
