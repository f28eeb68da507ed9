"""What follows for an item whose process ended before it knew: by the list, the key and the other items."""

import pytest

from lume_async._batch.recovery import Found, Next, next_step
from lume_async.models import RunRecord, RunStatus

ONE = Found(RunRecord("run_1", RunStatus.SUCCEEDED, {}), is_clear=True)
NONE = Found(None, is_clear=True)
UNCLEAR = Found(None, is_clear=False)


@pytest.mark.parametrize(
    ("found", "key_is_kept", "has_twin", "may_submit", "expected"),
    [
        (ONE, False, False, False, Next.FOLLOW),
        (ONE, True, False, False, Next.FOLLOW),
        (ONE, True, True, False, Next.ASK_BY_KEY),  # it may be the other item's run
        (NONE, False, False, True, Next.SUBMIT),
        (NONE, True, False, True, Next.SUBMIT),
        (NONE, True, True, True, Next.SUBMIT),
        (NONE, False, False, False, Next.GIVE_UP),  # a run may have come and gone from the list
        (UNCLEAR, True, False, False, Next.ASK_BY_KEY),
        (UNCLEAR, True, True, False, Next.ASK_BY_KEY),
        (UNCLEAR, False, False, False, Next.GIVE_UP),
        (UNCLEAR, False, False, True, Next.GIVE_UP),
    ],
)
def test_the_list_decides_then_the_key_then_nobody(
    found: Found, key_is_kept: bool, has_twin: bool, may_submit: bool, expected: Next
) -> None:
    step = next_step(found, key_is_kept=key_is_kept, has_twin=has_twin, may_submit=may_submit)
    assert step is expected
