"""The data of both APIs: the same classes as in `lume_async.models`."""

from lume_async.models import *  # noqa: F403
from lume_async.models import __all__ as __all__
