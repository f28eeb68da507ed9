"""Four real Airflow processes over PostgreSQL, and a Lume server that counts: `./scripts/test-airflow`."""
