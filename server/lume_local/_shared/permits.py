"""The permit to commit a run: a part of the worker protocol, for servers that share a state."""

from attrs import frozen


@frozen
class AsksToCommit:
    """The run is about to commit and waits for a `Permit`: another server may have the state by now."""


@frozen
class Permit:
    """The answer to `AsksToCommit`."""

    is_granted: bool
