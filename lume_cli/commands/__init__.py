"""One file per command, imported when that command is asked for; what it needs is imported when it runs."""
