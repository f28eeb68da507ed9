"""Every error that the library raises: the same classes as in `lume_async.errors`."""

from lume_async.errors import *  # noqa: F403
from lume_async.errors import __all__ as __all__
