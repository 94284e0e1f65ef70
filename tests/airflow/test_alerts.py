"""What people are told: by a real webhook, by real mail, and never with what a delivery holds."""

import traceback
from collections.abc import Mapping
from email.header import decode_header, make_header
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from receivers import mailbox, webhook
from support import ROOT, Deliver, order, write_orders

from loaders.errors import DeliveryRefused, TransientError
from local.ports import HOST, free_port

DAGS = ROOT / "airflow" / "dags"


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DAGS))
    import sales_mart_alerts

    return sales_mart_alerts


class Run:
    """What a DAG's callback asks of its run's task instance."""

    def __init__(self, states: Mapping[str, str], values: Mapping[tuple[str, str], Any]) -> None:
        self._states, self._values = states, values

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        return {run_ids[0]: self._states}

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> Any:
        return self._values.get((task_ids, key))


def failed(dag_id: str = "sales_mart_increment", run: Run | None = None) -> dict[str, Any]:
    from airflow.sdk import DAG

    context = {"dag": DAG(dag_id), "run_id": "manual__1+0", "reason": "why"}
    return {**context, "ti": run} if run else context


REFUSED = Run(
    {"print_info": "success", "upload_user_order_inc": "failed", "marts.d_item": "failed",
     "marts.f_sales": "upstream_failed"},
    {
        ("print_info", "return_value"): "2024-02-25",
        ("upload_user_order_inc", "failure"): {
            "reason": "increment 2024-02-25: <3> of 59 & more", "do": "python -m loaders q"
        },
    },
)  # fmt: skip


def test_a_failed_run_is_told_once_with_reasons_and_command(
    alerts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/")
    with webhook() as (url, posted):
        alerts.RunNotifier()(failed(run=REFUSED))
        assert posted == [], "nobody is to be told"
        monkeypatch.setenv("ALERT_WEBHOOK_URL", url)
        alerts.RunNotifier()(failed(run=REFUSED))
        assert [post["text"].splitlines() for post in posted] == [
            [
                "sales_mart_increment failed for 2024-02-25",
                "marts.d_item: it was killed, or its worker was lost",
                "upload_user_order_inc: increment 2024-02-25: &lt;3&gt; of 59 &amp; more",
                "do: python -m loaders q",
                "see: http://airflow.example/dags/sales_mart_increment/runs/manual__1%2B0",
            ]
        ]
        alerts.RunNotifier()(failed("sales_mart_history"))
        assert posted[1]["text"].splitlines()[:3] == [
            "sales_mart_history failed",
            "why",
            "do: airflow dags trigger sales_mart_history",
        ]
        of_a_day = Run({}, {("print_info", "return_value"): "2024-02-25"})
        alerts.RunNotifier()(failed(run=of_a_day))
        again = """airflow dags trigger sales_mart_increment --conf '{"date": "2024-02-25"}'"""
        assert posted[2]["text"].splitlines()[2] == f"do: {again}"


@pytest.mark.parametrize(
    ("run", "day"),
    [
        ({"conf": {"date": "2024-02-25"}, "data_interval_start": None}, "2024-02-25"),
        ({"conf": None, "data_interval_start": "2024-02-24T00:00:00Z"}, "2024-02-24"),
        ({"conf": {}, "data_interval_start": None, "run_after": "2024-03-01T01:00:00Z"},
         "2024-02-29"),
    ],
)  # fmt: skip
def test_a_day_that_did_not_come(
    alerts: Any, monkeypatch: pytest.MonkeyPatch, run: dict[str, Any], day: str
) -> None:
    names = {"dag_id": "sales_mart_increment", "dag_run_id": "1", "state": "running"}
    with webhook() as (url, posted):
        monkeypatch.setenv("ALERT_WEBHOOK_URL", url)
        alerts.tell_late({"dag_run": {**names, **run}, "deadline": {}})
    assert posted[0]["text"].splitlines()[:3] == [
        f"{day} did not come: sales_mart_increment has not succeeded",
        "its run was due 6 hours ago and is running",
        "do: python -m checks doctor",
    ]


def test_by_mail(alerts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with mailbox() as (port, mails):
        monkeypatch.setenv("ALERT_EMAIL_TO", "data@example.com")
        address = f"smtp://{HOST}:{port}?from_email=airflow%40example.com&disable_ssl=true"
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", f"{address}&disable_tls=true")
        alerts.RunNotifier()(failed(run=REFUSED))
        (mail,) = mails
    assert (mail["To"], mail["From"]) == ("data@example.com", "airflow@example.com")
    subject = str(make_header(decode_header(mail["Subject"])))
    assert subject == "sales_mart_increment failed for 2024-02-25"
    (body,) = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    text = body.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "increment 2024-02-25: &lt;3&gt; of 59" in text.decode()


@pytest.mark.parametrize("status", [404, 500])
def test_an_address_that_takes_no_message_is_in_no_log(
    alerts: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    with webhook(status) as (url, _):
        monkeypatch.setenv("ALERT_WEBHOOK_URL", url)
        with pytest.raises(alerts.AlertNotSent, match=f"ALERT_WEBHOOK_URL answers {status}"):
            alerts.RunNotifier()(failed())
    gone = f"http://{HOST}:{free_port()}/services/s3cret"
    monkeypatch.setenv("ALERT_WEBHOOK_URL", gone)
    with pytest.raises(alerts.AlertNotSent, match="takes no message: ConnectionError") as error:
        alerts.RunNotifier()(failed())
    logged = "".join(traceback.format_exception(error.value)) + capsys.readouterr().out
    assert "takes no message" in logged and "s3cret" not in logged


def test_no_order_line_is_in_a_reason(alerts: Any, deliver: Deliver, tmp_path: Path) -> None:
    whole = write_orders(tmp_path / "whole.csv", [order("o'1", "2024-02-25")])
    header, line = whole.read_text().splitlines()
    without_header = tmp_path / "without_header.csv"
    # Names of people as the last columns of the header, and of which repr shows one in each way.
    odd = "Вера,Д'Артаньян"
    for text in (f"{line}\n{line}\n", f"{header.replace('item_id', odd)}\n{line}\n"):
        without_header.write_text(text)
        with pytest.raises(DeliveryRefused) as refused:
            deliver("2024-02-25", without_header)
        said = alerts.reason(refused.value)
        assert "columns of the header: " in said and "\n" not in said
        assert [name for name in ("Вера", "Орлова", "Артаньян", "o'1") if name in said] == []
    assert "missing item_id; not known '…', '…'" in said

    with pytest.raises(DeliveryRefused) as refused:
        deliver("2024-02-25", [order("a", "2024-02-25", quantity="Вера")])
    said = alerts.reason(refused.value)
    assert said.startswith("increment 2024-02-25 (orders.csv): 1 of 1 lines rejected, more than 5%")
    assert "Вера" not in said
    assert refused.value.summary == {
        "first_day": "2024-02-25",
        "last_day": "2024-02-25",
        "outcome": "refused",
        "days": [],
        **{"received": 1, "loaded": 0, "repeated": 0, "rejected": 1, "superseded": 0},
        "reasons": {"quantity": 1},
    }


def test_of_other_programs_only_the_error_s_name_is_told(alerts: Any) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    error = AirflowException("dbt: Key (first_name)=(Вера)")
    assert alerts.reason(error) == "AirflowException: the task's log says more"
    assert alerts.reason(AirflowFailException("no such day")) == "no such day"
    assert alerts.reason(TransientError("the service is 'away'")) == "the service is '…'"
    assert len(alerts.reason(TransientError("x" * 5000))) == 500


def refused_after_reading() -> DeliveryRefused:
    refused = DeliveryRefused("no")
    refused.summary = {"rejected": 3}
    return refused


@pytest.mark.parametrize(
    ("cause", "do"),
    [(refused_after_reading(), True), (DeliveryRefused("no"), False), (None, False)],
)
def test_a_failed_task_leaves_its_reason(alerts: Any, cause: Exception | None, do: bool) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    error = AirflowFailException("no such day")
    error.__cause__ = cause
    pushed: dict[str, Any] = {}
    task = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    alerts.note_failure({"ti": task, "exception": error})
    command = "python -m loaders quarantine list" if do else ""
    assert pushed == {"failure": {"reason": "no such day", "do": command}}
