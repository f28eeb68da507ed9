"""Which of the waiting runs begins next: priorities first, then keys and flows take turns."""

from collections import Counter

from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.states import moved
from local.stores import Stores

from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import NewRun


class Queue:
    def __init__(self, store: SqlStore) -> None:
        self.store, self.sources = store, Counter[str]()

    async def add(self, who: str, flow: str = "f:v1", priority: int = 0) -> str:
        """A run, named by who submitted it and how many it has submitted before."""
        name = f"{who}{self.sources[who]}"
        self.sources[who] += 1
        new = NewRun(flow, name, f"/{name}", None, False, None, "", submitted_by=who, priority=priority)
        await self.store.create(new)
        return name

    async def take(self, count: int, at_limit: tuple[str, ...] = ()) -> list[str]:
        """The next runs, which begin."""
        found = []
        for _ in range(count):
            run = await self.store.next_waiting([], at_limit)
            if run is None:
                break
            await moved(self.store, run.run_id, "SYNCING_SOURCE")
            found.append(run.source_path)
        return found


async def test_a_run_behind_thousands_of_another_key_begins_next(store: SqlStore) -> None:
    queue = Queue(store)
    for _ in range(50):
        await queue.add("backfill")
    assert await queue.take(3) == ["backfill0", "backfill1", "backfill2"]
    await queue.add("person")
    await queue.add("person")
    assert await queue.take(5) == ["backfill3", "person0", "backfill4", "person1", "backfill5"]


async def test_flows_of_a_key_take_turns_too_and_versions_of_a_flow_do_not(store: SqlStore) -> None:
    queue = Queue(store)
    flows = {"a": "f:v1", "b": "f:v2", "c": "g:v1"}
    for name, flow in flows.items():
        for n in range(2):
            new = NewRun(flow, f"{name}{n}", f"/{name}{n}", None, False, None, "", submitted_by="k")
            await store.create(new)
    assert await queue.take(6) == ["a0", "c0", "a1", "c1", "b0", "b1"]


async def test_a_higher_priority_comes_first_and_takes_turns_by_itself(store: SqlStore) -> None:
    queue = Queue(store)
    for who, priority in (("a", 0), ("a", 0), ("b", 5), ("b", 5), ("c", 5), ("d", 9)):
        await queue.add(who, priority=priority)
    assert await queue.take(9) == ["d0", "b0", "c0", "b1", "a0", "a1"]


async def test_a_key_that_is_at_its_limit_is_passed_over(store: SqlStore) -> None:
    queue = Queue(store)
    for who in "aab":
        await queue.add(who)
    assert await queue.take(3, at_limit=("a",)) == ["b0"]
    assert await queue.take(3) == ["a0", "a1"]


async def test_all_tokens_of_an_entry_that_is_at_its_limit_are_passed_over(store: SqlStore) -> None:
    queue = Queue(store)
    for who in ("é", "é:ann", "é:bob", "éa:ann", "É:ann", "other"):
        await queue.add(who)
    assert await queue.take(9, at_limit=("é", "é:")) == ["éa:ann0", "É:ann0", "other0"]
    assert await queue.take(9) == ["é0", "é:ann0", "é:bob0"]


async def test_runs_of_an_earlier_release_have_no_key_and_begin(store: SqlStore) -> None:
    for n in range(2):
        await store.create(NewRun("f:v1", f"{n}", f"/{n}", None, False, None, ""))
    assert await Queue(store).take(1, at_limit=("a", "b:")) == ["0"], "whoever is at a limit"
    assert await Queue(store).take(3) == ["1"]


@examples(60)
@given(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=40))
async def test_nobody_waits_for_more_than_one_run_of_each_other(states: Stores, steps: list[str]) -> None:
    """Between two runs of a key that has one waiting all the time: one of each other, two of it at its start."""
    async with states.opened() as store:
        queue = Queue(store)
        await queue.add("x")
        since = Counter[str]()
        for who in steps:
            if who:
                await queue.add(who)
                continue
            (begun,) = await queue.take(1)
            since[begun[0]] += 1
            if begun[0] == "x":
                since.clear()
                await queue.add("x")
            assert max(since.values(), default=0) <= 2
