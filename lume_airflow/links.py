"""`LumeRunLink`: from a task to its run's page in the console."""

from typing import Any

from lume_airflow._compat import BaseOperatorLink, XCom

__all__ = ["LumeRunLink"]

LINK_KEY = "_link_LumeRunLink"
"""The XCom with the address: where Airflow 3 looks for it, and `get_link` on Airflow 2."""


class LumeRunLink(BaseOperatorLink):
    """The button "Lume run" of a task."""

    @property
    def name(self) -> str:
        """What the button says."""
        return "Lume run"

    @property
    def xcom_key(self) -> str:
        """Where the address is kept."""
        return LINK_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty until the run was submitted."""
        return XCom.get_value(ti_key=ti_key, key=LINK_KEY) or ""
