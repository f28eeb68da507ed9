"""A customer list is cleaned; the good rows are loaded, a person gets the rejected ones.

The pattern of Lume's documentation as a DAG: PARTIAL_FAILED is not an error. Trigger it with the parameter `source`.
"""

from typing import Any

from airflow.sdk import AssetAlias, Param, dag, task

from lume_airflow.operators import LumeRunOperator


@dag(schedule=None, params={"source": Param("examples/data/customers.csv", type="string")}, tags=["lume"])
def clean_customers() -> None:
    """Clean, then report and review."""
    clean = LumeRunOperator(
        task_id="clean",
        flow_version="customer_cleaner:v1",
        source_path="{{ params.source }}",
        retries=2,
        outlets=[AssetAlias("clean customers")],  # an asset for each file that was written
    )

    @task
    def report(cleaned: dict[str, Any]) -> str:
        """Use the good rows: load `mapped_location` into the warehouse, start a job on it …"""
        print(f"{cleaned['rows_mapped']} rows for the report: {cleaned['mapped_location']}")
        return str(cleaned["mapped_location"])

    @task.short_circuit
    def has_rejects(cleaned: dict[str, Any]) -> bool:
        """Whether somebody has to look."""
        return bool(cleaned["rows_rejected"])

    @task
    def review(cleaned: dict[str, Any]) -> str:
        """The rejected rows go to the data stewards, with their reasons."""
        print(f"{cleaned['rows_rejected']} rows for review: {cleaned['rejects_location']}")
        for reason, rows in cleaned["reject_reasons"].items():
            print(f"  {rows} x {reason}")
        return str(cleaned["rejects_location"])

    report(clean.output)
    has_rejects(clean.output) >> review(clean.output)  # type: ignore[arg-type]


clean_customers()
