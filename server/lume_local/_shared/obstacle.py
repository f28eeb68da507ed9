"""Obstacles that keep something from being done, here or in another process."""


class Obstacle(Exception):
    """An obstacle; the message names it and says what to do, without secrets.

    Attributes:
        may_pass: whether it may pass in a while: a place is unreachable, or locked.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass
