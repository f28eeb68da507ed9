"""Flow versions as the server describes them. Data only."""

from datetime import datetime
from typing import Any

from attrs import Factory, field, frozen

from lume_async._base.public import public


@public
@frozen
class FlowColumn:
    """One column of a flow's target: where its value comes from, and what it must satisfy.

    Attributes:
        sql: the expression over the columns of the source.
        type: the JSON type; `sql_type` is the one that the target has.
        unique: whether later rows with the same value are rejected.
        constraints: what else a value must satisfy, such as `format`, `enum`, `pattern`, `minimum`, `maxLength`.
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
    """A condition over the target's columns, and what happens where it is false: reject, warn or fail."""

    name: str
    sql: str
    message: str = ""
    on_fail: str = "reject"


@public
@frozen
class FlowSummary:
    """A flow version in a list.

    Attributes:
        flow_version: the flow and its version, such as `customer_cleaner:v1`; what runs are submitted with.
        content_hash: the same for two versions that say the same.
        runs: how many runs were made with it.
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
        content_hash: the same for two versions that say the same.
        definition: the JSON form of its file.
        is_new: whether this call has registered it; false where the server had the same version already.
    """

    flow_version: str
    content_hash: str
    created_at: datetime
    definition: dict[str, Any] = field(repr=False)
    is_new: bool = False
