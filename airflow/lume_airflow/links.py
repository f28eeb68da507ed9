"""`LumeRunLink`: a link from a task to its run's page in the console."""

from typing import Any

from lume_airflow._compat import BaseOperatorLink, XCom

__all__ = ["LumeRunLink"]

LINK_KEY = "_link_LumeRunLink"
"""The XCom with the URL, which Airflow 3 and, on Airflow 2, `get_link` read."""


class LumeRunLink(BaseOperatorLink):
    """The button "Lume run" of a task."""

    @property
    def name(self) -> str:
        """The label of the button."""
        return "Lume run"

    @property
    def xcom_key(self) -> str:
        """The XCom with the URL."""
        return LINK_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL; empty until the run is submitted."""
        return XCom.get_value(ti_key=ti_key, key=LINK_KEY) or ""
