"""`lume flow`: write, check, register and compare flow files."""

from lume_cli._table import CommandTable

command = CommandTable(
    "flow",
    {
        "init": ("", "Write a flow file from a sample."),
        "map": ("", "Propose how samples become a target."),
        "check": ("", "Check flow files."),
        "try": ("", "Try a flow file on a sample."),
        "register": ("flows.flow_versions:register", "Register flow files with a server."),
        "list": ("flows.flow_versions:list_", "List the flow versions of a server."),
        "diff": ("flows.flow_versions:diff", "Compare two flow versions or files."),
        "model": ("flows.flow_versions:model", "Write a Python class for the rows of a flow version."),
        "ddl": ("", "Print the table of a flow."),
    },
    help="Write, check and register flow files, and list and compare what a server has.",
)
