"""`Habits`: what servers and gateways do that the contract does not promise; drawn for simulated servers."""

from typing import Literal

from attrs import define

from lume_async.testing._chance import Chance


@define
class Habits:
    """The habits of one simulated server.

    Attributes:
        etags: whether single runs have an ETag.
        announces: every so many answers name the capabilities, as if a gateway removed them from the others; 0: none.
        feed: what the change feed reports: the "whole", nothing ("silent"), every change but the ends, those of the
            past over and over ("repeats"); or it "forgets" its cursors now and then.
        stage: a status on the way, which a client may not know.
        end: the status in place of SUCCEEDED, which a client may not know.
        asks: the seconds for which it asks not to poll a new run.
        page: the largest number of runs in a page, whatever is asked for.
        stamps: the precision of its times.
    """

    etags: bool = True
    announces: int = 1
    feed: Literal["whole", "silent", "repeats", "forgets"] = "whole"
    stage: str = "TRANSFORMING"
    end: str = "SUCCEEDED"
    asks: float = 0.0
    page: int = 100
    stamps: Literal["microseconds", "milliseconds", "seconds"] = "microseconds"

    @classmethod
    def drawn(cls, chance: Chance) -> "Habits":
        """Return habits of which each is odd in a few of a hundred histories.

        Examples:
            >>> habits = Habits.drawn(Chance(7))
        """
        usual = cls()
        if chance.happens(0.1, "answers have no ETag"):
            usual.etags = False
        if chance.happens(0.1, "a gateway removes capabilities"):
            usual.announces = chance.pick("of so many answers one has them", [3, 0, 7])
        if chance.happens(0.15, "the feed is odd"):
            usual.feed = chance.pick("it is", ["silent", "repeats", "forgets"])
        if chance.happens(0.1, "runs have an unknown status on their way"):
            usual.stage = "POLISHING"
        if chance.happens(0.05, "runs end in an unknown status"):
            usual.end = "ARCHIVED"
        if chance.happens(0.25, "it asks not to poll a new run"):
            usual.asks = 3.0
        if chance.happens(0.3, "pages are short"):
            usual.page = 2
        usual.stamps = chance.pick("times are in", ["microseconds", "milliseconds", "seconds"])
        return usual
