"""The fixtures for tests of commands."""

from cli.fixtures import client as client
from cli.fixtures import home as home
from cli.fixtures import lone as lone
from cli.fixtures import no_server as no_server
from cli.fixtures import server as server
from cli.fixtures import shell as shell
from cli.fixtures import slow_run as slow_run
from cli.fixtures import slow_source as slow_source
from cli.fixtures import source as source
