"""The processes that execute runs."""
