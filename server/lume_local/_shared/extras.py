"""The extras of this distribution: `require(module, extra, what)`, see `lume_async._base.extras`."""

from functools import partial

from lume_async._base import extras

require = partial(extras.require, name=extras.SERVER)
