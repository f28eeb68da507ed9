"""One file per command, imported when that command is invoked; its dependencies are imported when it runs."""
