"""The name of a worker, as a machine of its own would have it."""

import os


def worker_name() -> str:
    """Return it; Airflow records it with every task."""
    return os.environ.get("WORKER_NAME", "central")
