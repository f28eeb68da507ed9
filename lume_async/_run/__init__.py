"""One run: submit it, poll it, wait for it."""
