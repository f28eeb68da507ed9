"""The example data is what its generator writes, whichever Python runs it."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_customer_list_is_what_its_generator_writes() -> None:
    generator = runpy.run_path(str(EXAMPLES / "make_customers.py"))

    assert generator["build"]() == (EXAMPLES / "data" / "customers.csv").read_bytes()


def test_a_longer_list_begins_with_the_same_rows() -> None:
    build = runpy.run_path(str(EXAMPLES / "make_customers.py"))["build"]

    assert build(400).startswith(build(200))
