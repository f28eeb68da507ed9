"""One file per command, imported when it is invoked; what it depends on is imported when it runs."""
