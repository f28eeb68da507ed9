"""Many runs: monitor, change feed, completion, listing, progress."""
