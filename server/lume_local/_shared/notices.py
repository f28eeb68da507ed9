"""The job of the worker protocol that sends a message, and its answer (see `protocol`)."""

from attrs import field, frozen
from attrs.converters import optional

from lume_async._base.elided import elided


@frozen
class Notify:
    """Send a message to an address of apprise; answered by `Notified`."""

    address: str = field(repr=False)
    title: str
    text: str
    type: str


@frozen
class Notified:
    """Why a message was not accepted, without parts of its address; None if it was accepted."""

    problem: str | None = field(converter=optional(elided))
