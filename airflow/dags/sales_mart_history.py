"""On demand: the days before the increments, from the report API to the marts."""

from datetime import datetime

from airflow.sdk import Param, dag
from sales_mart_alerts import RunNotifier
from sales_mart_tasks import (
    DEFAULT_ARGS,
    build_marts,
    delivery_group,
    generate_report,
    get_report,
    print_info,
    report_page,
    upload,
)


@dag(
    schedule=None,
    start_date=datetime(2020, 1, 1),
    catchup=False,
    # Parallel runs are safe, but each would only replace what the other has just loaded.
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunNotifier(),
    params={
        "allow_empty": Param(
            False, type="boolean", description="Let the delivery empty days that have order lines."
        ),
    },
    tags=["sales_mart"],
    doc_md=__doc__,
)
def sales_mart_history() -> None:
    with delivery_group():
        report_task = generate_report()
        print_info() >> report_task
        uploaded = upload.override(task_id="upload_user_order")(get_report(report_task))
    uploaded >> build_marts("upload_user_order") >> report_page().as_teardown()


sales_mart_history()
