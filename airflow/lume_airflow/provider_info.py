"""The provider's metadata. Must not import Airflow, which reads this while it loads."""

from importlib.metadata import version
from typing import Any

_FIELDS = {
    "console_url": ("Console URL", "string", "the URL of the console, if not the base URL"),
    "request_timeout": ("Request timeout", "number", "seconds for one attempt of one request; default: 60"),
    "max_connections": ("Connections", "integer", "concurrent requests of a triggerer or task; default: 100"),
    "ca_file": ("CA file", "string", "a certificate authority of your own"),
    "proxy": ("Proxy", "string", "default: the one of the environment"),
}
"""The connection's extras: label, type, help. `_connection` reads the same names."""


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-lume",
        "name": "Lume",
        "description": "Lume data-transformation runs: submitted once, followed together, with rejects as a result.",
        "versions": [version("airflow-provider-lume")],
        "integrations": [
            {
                "integration-name": "Lume",
                "external-doc-url": "https://docs.lume.ai",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Lume", "python-modules": ["lume_airflow.hooks"]}],
        "operators": [{"integration-name": "Lume", "python-modules": ["lume_airflow.operators"]}],
        "sensors": [{"integration-name": "Lume", "python-modules": ["lume_airflow.sensors"]}],
        "triggers": [{"integration-name": "Lume", "python-modules": ["lume_airflow.triggers"]}],
        "extra-links": ["lume_airflow.links.LumeRunLink"],
        "connection-types": [_connection_type()],
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "lume",
        "hook-class-name": "lume_airflow.hooks.LumeHook",
        "hook-name": "Lume",
        "ui-field-behaviour": ui_field_behaviour(),
        "conn-fields": {
            name: {"label": label, "description": text, "schema": {"type": [kind, "null"]}}
            for name, (label, kind, text) in _FIELDS.items()
        },
    }


def ui_field_behaviour() -> dict[str, Any]:
    return {
        "hidden-fields": ["login", "schema", "port"],
        "relabeling": {"host": "Base URL", "password": "API key"},
        "placeholders": {"host": "https://lume.example.com", "password": "LUME_API_KEY"},
    }
