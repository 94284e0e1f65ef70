"""Every day: the day before, from the report API to the marts."""

from datetime import datetime

from airflow.sdk import CronDataIntervalTimetable, Param, dag
from sales_mart_alerts import RunNotifier, late
from sales_mart_tasks import (
    DEFAULT_ARGS,
    build_marts,
    delivery_group,
    generate_report,
    get_increment,
    get_report,
    print_info,
    report_page,
    upload,
)


@dag(
    # The run for a day starts when that day is over.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2020, 1, 1),
    # The service keeps a week of increments. Older days have to come from the history.
    catchup=False,
    # Days are independent and each mart has its lock, so runs at the same time are safe.
    max_active_runs=4,
    default_args=DEFAULT_ARGS,
    on_failure_callback=RunNotifier(),
    deadline=late(),
    params={
        "date": Param(
            None,
            type=["null", "string"],
            format="date",
            description="The day to load; without it the run's own day.",
        ),
        "allow_empty": Param(
            False, type="boolean", description="Let the delivery empty a day that has order lines."
        ),
    },
    tags=["sales_mart"],
    doc_md=__doc__,
)
def sales_mart_increment() -> None:
    with delivery_group():
        day = print_info()
        report_task = generate_report()
        report = get_report(report_task)
        increment = get_increment(report, day)
        day >> report_task
        uploaded = upload.override(task_id="upload_user_order_inc")(increment)
    uploaded >> build_marts("upload_user_order_inc") >> report_page().as_teardown()


sales_mart_increment()
