"""`run_many` and its journal."""
