"""What an error shows, with all that it hangs on: no secret may be among it."""

import pickle
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp

import lume_async
from lume_async import LumeError

OURS = tuple(str(Path(module.__file__ or "").parent) for module in (lume_async, aiohttp))


def shown_by(error: BaseException) -> Iterator[str]:
    """Texts, attributes, pickles, tracebacks and the locals of our frames; those of the causes and contexts, too."""
    pending, frames = [error], 0
    while pending:
        each = pending.pop()
        yield from (str(each), repr(each), repr(each.args), repr(vars(each)))
        if isinstance(each, LumeError):
            yield repr(pickle.dumps(each))
        yield "".join(traceback.TracebackException.from_exception(each).format())
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                frames += 1
                yield from (f"{name}={value!r}" for name, value in frame.f_locals.items())
        pending += [behind for behind in (each.__cause__, each.__context__) if behind is not None]
    assert frames


def assert_silent(texts: Iterable[str], *secrets: str) -> None:
    for text in texts:
        for secret in secrets:
            assert secret.lower() not in text.lower()
