import os

collect_ignore_glob = [] if os.environ.get("SOAK") else ["*test_*.py"]
"""These take minutes: `./scripts/soak rows`, `shards` and `contract` run them."""
