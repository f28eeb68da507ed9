"""A position in the change feed, and the opaque string that stands for it in requests."""

import base64
import re

from attrs import frozen

_FORM = re.compile(rb"1\.([^.]+)\.([0-9]{1,20})\.([0-9]{1,18})")


@frozen(order=True)
class Cursor:
    """The position after a change. Cursors sort in the order of the feed.

    Attributes:
        transaction: the transaction that made the change, in a store where changes become visible in another order
            than they are numbered in; 0 in one that numbers them as they become visible.
        seq: the number of the change.
    """

    transaction: int
    seq: int

    def text(self, store_id: str) -> str:
        """The string for clients; it is valid for that store only."""
        content = f"1.{store_id}.{self.transaction}.{self.seq}".encode()
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    @classmethod
    def of(cls, text: str, store_id: str) -> "Cursor | None":
        """The cursor that a client sent; None if it is not one of that store."""
        try:
            content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        match = _FORM.fullmatch(content)
        if match is None or match[1] != store_id.encode():
            return None
        return cls(int(match[2]), int(match[3]))
