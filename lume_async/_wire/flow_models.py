"""Flow versions as the server returns them. Data only."""

from datetime import datetime
from typing import Any

from attrs import Factory, field, frozen

from lume_async._base.public import public


@public
@frozen
class FlowColumn:
    """One column of a flow's target: the source of its value, and its constraints.

    Attributes:
        sql: the expression over the columns of the source.
        type: the JSON type; `sql_type` is the type in the target.
        unique: whether later rows with the same value are rejected.
        constraints: other constraints, such as `format`, `enum`, `pattern`, `minimum`, `maxLength`.
    """

    name: str
    sql: str
    type: str
    sql_type: str
    required: bool = False
    unique: bool = False
    constraints: dict[str, Any] = Factory(dict)


@public
@frozen
class FlowRule:
    """A condition on the target's columns, and the action for rows that violate it: reject, warn or fail."""

    name: str
    sql: str
    message: str = ""
    on_fail: str = "reject"


@public
@frozen
class FlowSummary:
    """A flow version in a list.

    Attributes:
        flow_version: the flow and its version, such as `customer_cleaner:v1`, to submit runs with.
        content_hash: equal for versions with the same content.
        runs: the number of its runs.
    """

    flow_version: str
    content_hash: str
    created_at: datetime
    runs: int
    columns: list[FlowColumn] = field(repr=False)
    rules: list[FlowRule] = field(factory=list, repr=False)
    description: str | None = None


@public
@frozen
class FlowVersion:
    """A flow version as it was registered.

    Attributes:
        flow_version: the flow and its version, such as `customer_cleaner:v1`.
        content_hash: equal for versions with the same content.
        definition: the JSON form of its file.
        target_schema: the JSON Schema (draft 2020-12) of its mapped rows; None if it was not requested, as by
            `register_flow`, or the server does not offer it.
        is_new: whether this call has registered it; False if the server already had it.
    """

    flow_version: str
    content_hash: str
    created_at: datetime
    definition: dict[str, Any] = field(repr=False)
    is_new: bool = False
    target_schema: dict[str, Any] | None = field(default=None, repr=False)
