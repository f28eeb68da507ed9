"""Why something can't be done, here or in another process."""


class Obstacle(Exception):
    """The message says what is in the way and what to do; it holds no secret.

    Attributes:
        may_pass: whether it may work in a while: a place is unreachable, or locked.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass
