"""The steps of a load, one function each, called in turn by a command line or an orchestrator.

    generate_report -> get_report (until ready) -> [get_increment ->] upload

Each takes and returns plain values, reads its settings from the environment, and may be repeated.
"""

import tempfile
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from loaders import landing, settings, warehouse
from loaders.deliveries import Delivery
from loaders.landing import LoadResult
from loaders.order_file import OrderFile
from loaders.report_api import ReportApi


def _api() -> ReportApi:
    return ReportApi(settings.ReportApiSettings.from_environment())


def generate_report() -> str:
    """Start a report; return its task id."""
    return _api().generate_report()


def get_report(task_id: str) -> Delivery | None:
    """Return the history delivery of the report, or None while it is not ready."""
    return _api().get_report(task_id)


def wait_for_report(task_id: str) -> Delivery:
    """Return the history delivery of the report as soon as it is ready."""
    return _api().wait_for_report(task_id)


def get_increment(report_id: str, day: date) -> Delivery:
    """Return the delivery of one day."""
    return _api().get_increment(report_id, day)


def upload(delivery: Delivery, *, allow_empty: bool = False, dry_run: bool = False) -> LoadResult:
    """Fetch the file of a delivery and land it in staging.

    Fetching and landing are one step, because two workers may have no common disk.

    Raises:
        DeliveryRefused: if the file or its effect is not acceptable; staging is unchanged.
        TransientError, TerminalError: as the client and the landing raise them.
    """
    max_rejected_share = settings.max_rejected_share()
    started_at = warehouse.clock()
    source_file = Path(urlsplit(delivery.orders_url).path).name
    # The file has no name, so nothing stays on the disk, whatever ends this process.
    with tempfile.TemporaryFile() as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        sha256 = _api().download(delivery.orders_url, path)
        return landing.land(
            delivery,
            lambda: OrderFile(path, delivery.first_day, delivery.last_day),
            source_file=source_file,
            sha256=sha256,
            started_at=started_at,
            max_rejected_share=max_rejected_share,
            allow_empty=allow_empty,
            dry_run=dry_run,
        )
