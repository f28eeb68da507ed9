"""`Flows`: the operations of a client on flow versions.

Each method imports its work on first use, as in `ManyRuns`.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from attrs import evolve

import lume_async  # for annotations: its names are loaded on use
from lume_async._base.batched import Items
from lume_async._http.sender import Sender
from lume_async._run.pages import items
from lume_async.errors import InvalidRequestError, NotSupportedError
from lume_async.models import JsonObject, plain_text

_PAGE = 100
_PATIENCE = 60.0
"""Seconds to read the samples of a proposal, on top of the time limit of a request."""
_PATIENCE_FOR_A_RUN = 3600.0


class Flows:
    """The operations of `Client` on flow versions."""

    _sender: Sender

    async def register_flow(self, flow: str | os.PathLike[str] | JsonObject) -> "lume_async.FlowVersion":
        """Register a flow version. Idempotent; different content under the same name and version is refused.

        Args:
            flow: the path of a TOML file, its text, or its content as a dict (the JSON form).

        Raises:
            InvalidRequestError: the flow is not valid, or the version exists with different content.
            NotSupportedError: the server does not register flows.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> version = await client.register_flow("flows/customer_cleaner.v2.toml")
        """
        from lume_async._operations.flow_file import definition_of, ref_of
        from lume_async._wire import flow_endpoints

        definition = await definition_of(flow)
        name, version = ref_of(definition)
        return await self._sender.send(flow_endpoints.register_flow(name, version, definition))

    async def flow_version(self, ref: str) -> "lume_async.FlowVersion":
        """Get a flow version as it was registered, with the schema of its mapped rows.

        Args:
            ref: the flow and its version, such as `customer_cleaner:v1`.

        Raises:
            InvalidRequestError: the server has no such flow version.
            NotSupportedError: the server does not offer flow versions.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> version = await client.flow_version("customer_cleaner:v1")
            >>> print(list(version.target_schema["properties"]))
            ['customer_id', 'name', 'email', 'signup_date', 'country', 'balance']
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

    def table(
        self, flow: str, *, as_of: datetime | None = None, source: str | None = None
    ) -> "lume_async.Rows":
        """Return the current clean rows of a flow: those of all its runs, each row once, in its newest version.

        The last run on a source replaces the rows of earlier runs on it and on their rejects. Pages are fetched as
        needed, all of the same state.

        Args:
            flow: the name of the flow: rows have the columns of all its versions, and None where their own version
                lacks one. Or one version (`customers:v3`): the rows that it has accepted.
            as_of: an aware `datetime`: the rows as they were then.
            source: only rows of this source path.

        Raises:
            ValueError: an argument is not valid; no request was sent.
            InvalidRequestError: raised by the iteration: there is no such flow, the output of a run was removed, the
                rows are in a table of a database, or a column has different types. The message says which.
            NotSupportedError: raised by the iteration: the server offers no table.

        Examples:
            >>> async for row in client.table("customer_cleaner"):
            ...     print(row["customer_id"], row["balance"])
        """
        from lume_async._run.results.rows import Rows
        from lume_async._wire.row_endpoints import rows_of_flow

        return Rows(self._sender, rows_of_flow(flow, as_of, source))

    async def propose(
        self,
        flow_or_schema: str | JsonObject,
        samples: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        flow: str | None = None,
        source: JsonObject | None = None,
        choices: Mapping[str, str | JsonObject | None] | None = None,
        inline_lookups: bool = False,
        dry_run: bool = False,
        layout: str | None = None,
    ) -> "lume_async.Proposal":
        """Propose how samples become rows of a target: which source column is which target column, and why.

        Nothing is registered. Review the proposal, and register its `definition` or its `toml`. Samples that are
        in the same form share a layout.

        Args:
            flow_or_schema: a flow (`customers`) or one of its versions (`customers:v3`), to propose its next version
                with a layout for samples that it does not read; or a JSON Schema of one row.
            samples: files of one layout or of several: source paths that the server can read, or local files as
                `Path`, which are uploaded.
            flow: for a schema, the name of the proposed flow; default: the `title` of the schema.
            source: how to read the samples, as `[source]` of a flow; default: detected.
            choices: decisions of a person, which override the evidence: for columns of the target, the source column
                to read, None to leave it open, or a dict with any of `sources` (a list),
                `reading` (the key of a `ValueReading`), `lookup` (values of the source to members of the
                enumeration), `review` (`approved` or `flagged`), `note`, and `layouts` (a dict with the decision for
                each single layout that needs another one).
            inline_lookups: write lookups into the flow version, which then needs no seed files.
            dry_run: try the proposed version on the sample, as `dry_run` does; takes one sample, and
                `inline_lookups=True`.
            layout: the name of the new layout, which is added even if the version reads the samples; default: that of
                a sample.

        Raises:
            InvalidRequestError: there is no such flow, or a sample can't be read.
            NotSupportedError: the server makes no proposals.
            ApiError: see the tree in `lume_async.errors`.

        Examples:
            >>> proposal = await client.propose("customer_cleaner", "customers.csv", choices={"country": None})
            >>> print(proposal.flow_version, proposal.unmapped)
            customer_cleaner:v3 ['country']
        """
        from lume_async._operations.flow_file import proposal_request
        from lume_async._wire import flow_endpoints

        name, body, files = proposal_request(
            flow_or_schema, samples, flow, source, choices, inline_lookups, dry_run, layout
        )
        for n, file in files.items():
            body["samples"][n] = await self._uploaded(file)
        patience = _PATIENCE + (_PATIENCE_FOR_A_RUN if dry_run else 0)
        return await self._sender.send(flow_endpoints.propose(name, body, patience))

    async def _uploaded(self, file: "os.PathLike[str]") -> str:
        from lume_async._run.upload import upload

        try:
            return await upload(self._sender, file, None, by_content=True)
        except InvalidRequestError as error:
            if error.status_code is not None:
                raise
            reason = str(error)
        raise InvalidRequestError(f"samples: {reason}")

    def list_flows(self, flow: str | None = None) -> "Items[lume_async.FlowSummary]":
        """Yield the registered flow versions, by flow, each flow's versions in the order of registration.

        Args:
            flow: only versions of this flow.

        Raises:
            NotSupportedError: raised by the iteration: the server does not list flows.

        Examples:
            >>> async for version in client.list_flows("customer_cleaner"):
            ...     print(version.flow_version)
        """
        from lume_async._wire import flow_endpoints

        if flow is not None:
            plain_text(flow, "flow")
        return items(self._sender, partial(flow_endpoints.flows, flow), _PAGE, None, "flow versions")
