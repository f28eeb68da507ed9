"""The work on a part of a source, and the steps of a run whose parts others take in."""
