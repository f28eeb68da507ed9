"""Lume runs as Airflow tasks, submitted once whatever dies. For Airflow 3.3: the extra `airflow`.

    from lume_airflow.operators import LumeRunOperator

Importing this package imports neither Airflow nor the clients; `operators`, `sensors`, `hooks`, `triggers`
and `links` are its public modules.
"""
