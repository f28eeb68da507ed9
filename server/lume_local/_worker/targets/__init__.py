"""The targets of rows: one file per kind, behind the protocol in `target`."""
