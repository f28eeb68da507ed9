"""The plan for a terabyte that the guide to engines shows is what the simulation gives."""

from pathlib import Path

from server.benchmarks.shards import plan as shards_plan

ROOT = Path(__file__).parents[3]


def test_the_guide_shows_what_is_computed() -> None:
    text = (ROOT / "docs/guides/engines.md").read_text()

    for machines in shards_plan.SHOWN:
        assert shards_plan.row(machines) in text
    assert f"{shards_plan.Assumed().cpu_per_mb:g} CPU seconds for a megabyte" in text


def test_more_machines_take_less_until_the_storage_is_the_limit() -> None:
    plans = [shards_plan.plan(shards_plan.Assumed(machines=n)) for n in (1, 2, 4, 400)]
    floor = 2 * 1e12 / 10e9 / 60

    assert plans[0].minutes > 1.8 * plans[1].minutes > 3.2 * plans[2].minutes
    assert plans[3].bound_by == "storage"
    assert floor < plans[3].minutes < plans[2].minutes
    assert {one.shards for one in plans} == {3726}
    # No plan is faster than its CPU time on all slots.
    assert all(one.minutes * 60 >= one.cpu_hours * 3600 / one.slots for one in plans)
