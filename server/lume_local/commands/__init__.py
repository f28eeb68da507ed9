"""Commands of `lume` that need the server; the entry points of the group `lume.commands` name them.

They use the options, the session and the output of `lume_cli`. A module is imported when its command is invoked.
"""
