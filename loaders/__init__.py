"""Fetches what the shop's report API publishes and lands it in schema `staging`.

Data flow: report API -> CSV file -> checked lines -> COPY -> staging.user_order_log, with a row in
the ledger staging.delivery and the rejected lines in staging.quarantine.

Plain Python: never imports Airflow, so that a delivery can be loaded from any shell
(`python -m loaders --help`). The DAGs call the same functions.
"""
