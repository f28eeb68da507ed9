"""The kinds of histories by their names, and how many of each are played."""

from collections.abc import Callable

from simulation import batches, elsewhere, follow, many, transfers
from simulation.services import KeyedServer, KeylessServer, LabelledServer, NamedServer
from simulation.world import OfService, OnBytes, World, play, shrunk

HISTORIES: dict[str, tuple[Callable[[World], None], int]] = {
    "journaled": (batches.journaled, 300),
    "plain": (batches.plain, 100),
    "left_early": (batches.left_early, 120),
    "retried": (batches.retried, 50),
    "killed": (batches.killed, 80),
    "left_calmly": (batches.left_calmly, 50),
    "journaled_on_bytes": (OnBytes(batches.journaled), 50),
    "plain_on_bytes": (OnBytes(batches.plain), 50),
    "left_early_on_bytes": (OnBytes(batches.left_early), 50),
    "round_trip": (transfers.round_trip, 80),
    "round_trip_on_bytes": (OnBytes(transfers.round_trip), 50),
    "downloaded": (transfers.downloaded, 50),
    "downloaded_on_bytes": (OnBytes(transfers.downloaded), 50),
    "uploaded": (transfers.uploaded, 50),
    "uploaded_on_bytes": (OnBytes(transfers.uploaded), 50),
    "interrupted": (transfers.interrupted, 50),
    "interrupted_on_bytes": (OnBytes(transfers.interrupted), 50),
    "following": (follow.following, 120),
    "monitored": (many.monitored, 120),
    "limited": (many.limited, 5),
    "crowded": (follow.crowded, 50),
    "listed": (follow.listed, 50),
    "abandoned": (follow.abandoned, 50),
    "keyed": (OfService(elsewhere.resumed, KeyedServer), 80),
    "named": (OfService(elsewhere.resumed, NamedServer), 80),
    "labelled": (OfService(elsewhere.resumed, LabelledServer), 50),
    "keyless": (OfService(elsewhere.resumed, KeylessServer), 50),
}
"""The kinds, each with the number of its histories in the quick run."""


def check(kind: str, seed: int) -> None:
    """Play a history; if it fails, say how to repeat it, and which of its events it needs."""
    history, _ = HISTORIES[kind]
    try:
        play(history, seed)
    except (AssertionError, Exception) as error:
        smaller = shrunk(history, seed)
        if smaller is None:
            raise AssertionError(f"{kind} {seed} failed once and then not: it does not repeat") from error
        numbers, names, failure = smaller
        only = ",".join(map(str, numbers)) or "none"
        raise AssertionError(
            f"{failure}\nRepeat it: python tests/simulation {kind} {seed} --only {only}\n"
            f"Its events: {'; '.join(names)}"
        ) from failure
