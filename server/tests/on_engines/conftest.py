"""These tests run in an environment of their own: `server/tests/test_engines.py` starts them there."""

from importlib.util import find_spec

if not (find_spec("pyspark") and find_spec("ray")):
    collect_ignore_glob = ["test_*.py"]
