"""Where rows go: one file for each kind of target, behind the protocol in `target`."""
