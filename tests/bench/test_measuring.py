"""The bench counts the CPU of all processes and takes turns. These tests time nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, Warehouse

from bench.__main__ import main
from bench.measure import Sample, Server, Side, of_program, take_turns
from local.postgres import EmbeddedPostgres

BURN = "import time\nwhile time.process_time() < 0.3: pass"
OWN_WORK = f"""
import json
from bench.measure import own_work
{BURN}
with own_work():
    held = b"x" * 50_000_000
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_sides_take_turns() -> None:
    taken = []

    def side(name: str) -> Side:
        def take(number: int) -> Sample:
            taken.append(f"{name}{number}")
            return Sample(number, 0)

        return Side(take, rounds=2 if name == "slow" else None)

    samples = take_turns({name: side(name) for name in ("a", "b", "slow")}, 3)
    assert taken == ["a0", "b0", "slow0", "a1", "b1", "slow1", "a2", "b2"]
    assert [sample.seconds for sample in samples["slow"]] == [0, 1]


def test_cpu_of_a_program_and_its_children_counts() -> None:
    in_a_child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    sample, _ = of_program(python(in_a_child), env={})
    assert sample.cpu > 0.3


def test_cpu_of_what_a_program_leaves_running_counts() -> None:
    # Like a server: in a session of its own, without its parent.
    left = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}],"
    left += " start_new_session=True)"
    sample, _ = of_program([sys.executable, "-m", "bench.measure", "/", *python(left)], env={})
    assert sample.cpu > 0.3


def test_a_program_that_fails_breaks_the_bench(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        of_program(python("print('said'); raise SystemExit(3)"), env={})
    assert "said" in capsys.readouterr().out
    command = [sys.executable, "-m", "bench.measure", "/", *python("raise SystemExit(3)")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 3


def test_own_work_leaves_out_the_start_of_a_program() -> None:
    _, output = of_program(python(OWN_WORK), env={})
    said = json.loads(output)
    assert said["cpu"] < 0.3
    assert 50 < said["peak_mb"] < 100


def test_cpu_of_the_server_counts(server: EmbeddedPostgres, warehouse: Warehouse) -> None:
    bench = Server(server)
    burn = "do $$ begin while clock_timestamp() < now() + interval '1 s' loop end loop; end $$"
    # On a busy machine the server gets little CPU in a second. Without its processes it is zero.
    sample = bench.program(bench.psql("-c", burn), warehouse.env["PGDATABASE"])
    assert sample.server_cpu > 0.1 > sample.cpu


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["landig"])
    assert ended.value.code == 2
    assert "not known: landig" in capsys.readouterr().err


def test_there_is_one_peer_of_the_increment_dag() -> None:
    (peer,) = Path(ROOT, "bench", "airflow").glob("*.py")
    assert f"def {peer.stem}():" in peer.read_text()
