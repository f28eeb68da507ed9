"""No secret of an engine's URL is said, whatever is wrong with it."""

import pytest

from lume_local._shards.executor import UnknownEngine, check_engine, shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("pool", "pool"),
        ("pool://4", "pool://4"),
        ("dask://host:8786", "dask://host:8786"),
        ("spark://one:7077,two:7077", "spark://one:7077,two:7077"),
        ("sc://host:15002/;token=S3CRET;user_id=x", "sc://host:15002"),
        ("sc://host:15002;token=S3CRET", "sc://host:15002"),
        ("sc://host:15002/;token=S3@CRET", "sc://…"),
        ("ray://user:S3CRET@[::1]:1", "ray://[::1]:1"),
        ("ray://user:S3C[RET@host:1", "ray://host:1"),
        ("ray://user:S3C@RET@host:1", "ray://host:1"),
        ("spark://user:S3C/RET@host:7077", "spark://…"),
        ("spark://user:S3C#RET@host:7077", "spark://…"),
        ("spark://user:S3C?RET@host", "spark://…"),
        ("spark://user:S3C\nRET@host", "spark://host"),
        ("user:S3CRET@host", "host"),
    ],
)
def test_what_is_shown(url: str, words: str) -> None:
    assert shown(url) == words


@pytest.mark.parametrize(
    "url",
    [
        "spakr://user:S3CRET@host:7077",
        "SPARK://user:S3CRET@host",
        "pool://user:S3CRET@4",
        "pool://S3C/RET@4",
        "S3CRET@host",
    ],
)
def test_a_mistake_in_it(url: str) -> None:
    with pytest.raises(UnknownEngine) as caught:
        check_engine(url)
    for part in ("S3C", "RET", "user"):
        assert part not in str(caught.value)
