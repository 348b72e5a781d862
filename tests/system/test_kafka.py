"""A topic of a real broker into the tables: every message once, the broken ones in quarantine, nothing lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compare import assert_each_once, assert_same, contents, sums
from kafka_broker import Broker, held_ports, running_broker
from processes import PATIENCE, Moment, Pipeline, environment, qts
from small_market import settings_of, write_conf

from qts.store.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

COLUMNS = {"event_time": "ts", "instrument": "sym", "price": "px", "size": "qty", "vendor_id": "id"}
#: A message that has to be refused, and the reasons.
BROKEN: tuple[tuple[bytes | dict[str, Any] | None, set[str]], ...] = (
    (b'{"ts": "2024-05-01T12:', {"unparseable_record"}),
    (b"\xff\xfe\x00", {"unparseable_record"}),
    (None, {"unparseable_record"}),
    (b"[1, 2]", {"unparseable_record"}),
    ({"sym": "A", "px": 10.0, "qty": 1, "id": "b1"}, {"missing_time"}),
    ({"ts": "2024-05-01T12:00:00Z", "px": 10.0, "qty": 1, "id": "b2"}, {"missing_instrument"}),
    ({"ts": "2024-05-01T12:00:00Z", "sym": "A", "qty": 1, "id": "b3"}, {"price_not_finite"}),
    ({"ts": "2024-05-01T12:00:00Z", "sym": "A", "px": -1, "qty": 1, "id": "b4"}, {"price_not_positive"}),
    ({"ts": "noon", "sym": "A", "px": 10.0, "qty": 1, "id": "b5"}, {"bad_time"}),
    ({"ts": "2024-05-01T12:00:00Z", "sym": "../x; DROP", "px": 1, "qty": 1, "id": "b6"}, {"unsafe_instrument"}),
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


def trade(number: int, instrument: str) -> dict[str, Any]:
    """A good trade, a second after the one before."""
    at = f"2024-05-01T{10 + number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
    return {"ts": at, "sym": instrument, "px": 100 + number % 7, "qty": 1 + number % 3, "id": f"{instrument}-{number}"}


def conf_for(folder: Path, topic: str, servers: str) -> Path:
    """A conf with the topic as its only source."""
    folder.mkdir(exist_ok=True)
    (folder / "topic.yml").write_text(json.dumps({"kind": "trade", "columns": COLUMNS}))
    source = {"name": "feed", "type": "kafka", "servers": servers, "topic": topic, "mapping": str(folder / "topic.yml")}
    return write_conf(folder, sources=[source])


def ingest(conf: Path) -> dict[str, Any]:
    done = qts("ingest", "--once", "--config", str(conf), "--json", cwd=conf.parent)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout))


def refused(conf: Path) -> str:
    """The one line that the user is told."""
    done = qts("ingest", "--once", "--config", str(conf), cwd=conf.parent)
    told = [line for line in done.stderr.splitlines() if line.startswith("qts: ")]
    assert (done.returncode, done.stdout, len(told)) == (2, "", 1), done.stderr[-4000:]
    return told[0]


def test_a_topic_lands_once_and_its_broken_messages_in_quarantine(tmp_path: Path, broker: Broker) -> None:
    broker.create("ticks", 2)
    good = {partition: [trade(number, name) for number in range(400)] for partition, name in enumerate("AB")}
    for partition, messages in good.items():
        broker.send("ticks", partition, messages)
    broker.send("ticks", 0, [message for message, _ in BROKEN])
    broker.send("ticks", 1, [good[0][7], good[1][9]])  # delivered again, one of them over the other partition
    conf = conf_for(tmp_path, "ticks", broker.servers)
    told = ingest(conf)
    assert (told["in"], told["accepted"]) == (802 + len(BROKEN), 800)
    assert (told["quarantined"], told["duplicates"]) == (len(BROKEN), 2)
    expected: dict[str, int] = {"duplicate": 2}
    for code in (code for _, codes in BROKEN for code in codes):
        expected[code] = expected.get(code, 0) + 1
    assert {code: told["reasons"].get(code) for code in expected} == expected
    settings = settings_of(conf)
    assert sums(settings)["feed"] == {key: told[key] for key in ("in", "accepted", "quarantined", "duplicates")}
    again = ingest(conf)
    assert (again["in"], again["reasons"]) == (0, {})
    assert_each_once(settings)


def test_a_running_job_takes_what_comes_and_ends_on_ctrl_c(tmp_path: Path, broker: Broker) -> None:
    broker.create("live", 2)
    conf = conf_for(tmp_path, "live", broker.servers)
    ledger = Ledger(settings_of(conf).tables)
    command = [sys.executable, "-m", "qts.cli", "ingest", "--config", str(conf), "--json"]
    with (tmp_path / "stderr").open("w") as errors:
        job = subprocess.Popen(
            command, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        for number in range(3):
            broker.send("live", number % 2, [trade(40 * number + second, "A") for second in range(40)])
            await_rows(ledger, 40 * (number + 1), job)
        job.send_signal(signal.SIGINT)
        told = json.loads(job.communicate(timeout=PATIENCE)[0])
    finally:
        job.kill()
    assert (job.returncode, told["in"], told["accepted"]) == (0, 120, 120), (tmp_path / "stderr").read_text()[-4000:]
    assert_each_once(settings_of(conf))


def await_rows(ledger: Ledger, rows: int, job: subprocess.Popen[str]) -> None:
    """Waits until so many ticks are there for readers."""
    deadline = time.monotonic() + PATIENCE
    while not ledger.exists("ticks") or ledger.read("ticks", columns=("source",)).num_rows < rows:
        assert job.poll() is None, "the job ended"
        assert time.monotonic() < deadline, "the ticks did not come"
        time.sleep(0.2)


def test_kills_in_the_middle_of_a_topic_change_nothing(tmp_path: Path, broker: Broker) -> None:
    broker.create("killed", 2)
    for partition, name in enumerate("AB"):
        messages = [trade(number, name) for number in range(600)]
        broker.send("killed", partition, [*messages[:300], *messages[290:], *(message for message, _ in BROKEN)])
    killed, undisturbed = (conf_for(tmp_path / name, "killed", broker.servers) for name in ("killed", "undisturbed"))
    moments = [("after plan", 1), ("after commit ticks", 2), ("after commit quarantine", 1)]
    for kill, (step, nth) in enumerate(moments):
        moment = Moment(f"ingest: {step}", nth, exact=True)
        with Pipeline(killed, ("ingest",), moment.step, nth) as pipeline:
            assert pipeline.until(moment), pipeline.stderr[-4000:]
            pipeline.kill()
        # What comes meanwhile belongs to a later batch, not to the one that was planned.
        broker.send("killed", 0, [trade(8000 + kill, "A")])
    for conf in (killed, undisturbed):
        with Pipeline(conf, ("ingest",)) as pipeline:
            pipeline.succeed()
    found, expected = contents(settings_of(killed)), contents(settings_of(undisturbed))
    tables = ("instruments", "ticks", "quarantine")
    assert_same({name: found[name] for name in tables}, {name: expected[name] for name in tables})
    assert len(found["ticks"]) == 1203
    assert_each_once(settings_of(killed))
    assert sums(settings_of(killed)) == sums(settings_of(undisturbed))


def test_a_topic_that_is_not_there_or_no_broker_is_one_line(tmp_path: Path, broker: Broker) -> None:
    broker.create("trades", 1)
    line = refused(conf_for(tmp_path / "topic", "trade", broker.servers))
    assert "There is no topic 'trade'" in line
    assert "trades" in line
    with held_ports(1) as (port,):
        nobody = f"127.0.0.1:{port}"
        assert f"No Kafka broker answers at {nobody}" in refused(conf_for(tmp_path / "broker", "trades", nobody))


def test_messages_that_the_broker_dropped_unread_are_told(tmp_path: Path, broker: Broker) -> None:
    broker.create("short", 1)
    broker.send("short", 0, [trade(number, "A") for number in range(10)])
    conf = conf_for(tmp_path, "short", broker.servers)
    assert ingest(conf)["accepted"] == 10
    broker.send("short", 0, [trade(number, "A") for number in range(10, 30)])
    broker.forget("short", 0, 20)
    line = refused(conf)
    assert "Source 'feed' cannot be read" in line
    assert "short-0" in line
    assert_each_once(settings_of(conf))
