"""Short ids are completed by what the server lists."""

import click
import pytest

from lume_async import ServerError
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json
from lume_cli._work.run_ids import whole_ids

IDS = [
    "run_2f91d0ab1111111111111111",
    "run_2f91d0ab2222222222222222",
    "run_aaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbb",
]


def listing(request: FakeRequest) -> FakeAnswer:
    return FakeAnswer(200, {"items": [run_json(one, "CREATED") for one in IDS], "next_cursor": None})


async def test_each_is_replaced_by_the_run_that_it_stands_for() -> None:
    client, transport = fake_client(listing)
    given = ["aaaaaaaa", "run_1", "run_aaaaaaaa", "bbbbbbbb", "cccccccc"]
    assert await whole_ids(client, given) == [IDS[2], "run_1", "bbbbbbbb", "cccccccc"]
    assert len(transport.requests) == 1


async def test_whole_ids_cost_no_request() -> None:
    client, transport = fake_client(listing)
    assert await whole_ids(client, ["run_1", IDS[0] + "f" * 8]) == ["run_1", IDS[0] + "f" * 8]
    assert not transport.requests


async def test_one_that_stands_for_several_is_an_error_that_names_them() -> None:
    client, _ = fake_client(listing)
    with pytest.raises(click.UsageError, match="2f91d0ab matches 2 runs: 2f91d0ab1, 2f91d0ab2; pass more"):
        await whole_ids(client, ["2f91d0ab"])


async def test_a_server_that_can_not_list_knows_whole_ids_only() -> None:
    client, _ = fake_client(lambda request: FakeAnswer(404))
    assert await whole_ids(client, ["aaaaaaaa"]) == ["aaaaaaaa"]
    broken, _ = fake_client(lambda request: FakeAnswer(500))
    with pytest.raises(ServerError):
        await whole_ids(broken, ["aaaaaaaa"])
