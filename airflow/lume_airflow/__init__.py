"""Lume runs as Airflow tasks, submitted exactly once. For Airflow 3.3; the distribution `airflow-provider-lume`.

    from lume_airflow.operators import LumeRunOperator

Importing this package imports neither Airflow nor the clients; `operators`, `sensors`, `hooks`, `triggers`
and `links` are its public modules.
"""
