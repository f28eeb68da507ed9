"""`Flows`: the operations of a client on flow versions.

Each method imports its work on first use, as those of `ManyRuns` do.
"""

import os
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from lume_async._base.batched import Chunked
from lume_async._http.sender import Sender
from lume_async._run.pages import pages
from lume_async.errors import NotSupportedError
from lume_async.models import plain_text

if TYPE_CHECKING:
    from lume_async._wire.flow_models import FlowSummary, FlowVersion

_PAGE = 100


class Flows:
    """The operations of `Client` on flow versions."""

    _sender: Sender

    async def register_flow(self, flow: str | os.PathLike[str] | Mapping[str, Any]) -> "FlowVersion":
        """Register a flow version. Idempotent; different content under the same name and version is refused.

        Args:
            flow: the path of a TOML file, its text, or its content as a dict (the JSON form).

        Raises:
            InvalidRequestError: the flow is not valid, or the version exists with different content.
            NotSupportedError: the server does not register flows.
            ApiError: see the tree in `lume_async.errors`.
        """
        from lume_async._operations.flow_file import definition_of, ref_of
        from lume_async._wire import flow_endpoints

        definition = await definition_of(flow)
        name, version = ref_of(definition)
        return await self._sender.send(flow_endpoints.register_flow(name, version, definition))

    async def flow_version(self, ref: str) -> "FlowVersion":
        """Get a flow version as it was registered, with the schema of its mapped rows.

        Args:
            ref: the flow and its version, such as `customer_cleaner:v1`.

        Raises:
            InvalidRequestError: the server has no such flow version.
            NotSupportedError: the server does not offer flow versions.
            ApiError: see the tree in `lume_async.errors`.
        """
        from lume_async._operations.flow_file import split_ref
        from lume_async._wire import flow_endpoints

        name, version = split_ref(ref)
        found = await self._sender.send(flow_endpoints.flow_version(name, version))
        try:
            schema = await self._sender.send(flow_endpoints.target_schema(name, version))
        except NotSupportedError:
            return found
        return evolve(found, target_schema=schema)

    def list_flows(self, flow: str | None = None) -> AsyncIterator["FlowSummary"]:
        """Yield the registered flow versions, by flow, each flow's versions in the order of registration.

        Args:
            flow: only versions of this flow.

        Raises:
            NotSupportedError: raised by the iteration: the server does not list flows.
        """
        from lume_async._wire import flow_endpoints

        if flow is not None:
            plain_text(flow, "flow")
        return Chunked(
            pages(self._sender, lambda size, cursor: flow_endpoints.flows(flow, size, cursor), _PAGE),
            "flow versions",
        )
