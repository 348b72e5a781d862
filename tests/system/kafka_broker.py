"""One real Kafka broker on loopback, for as long as a test needs it: KRaft mode, started from its own jars."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from qts.pipeline.jars import ivy_folder

PACKAGES = ("org.apache.kafka:kafka_2.13:4.1.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
SPARK_HOME = Path(pyspark.__file__).parent
#: Longest wait for a broker, seconds; only one that hangs takes so long.
PATIENCE = 900.0
#: 22 characters of base64: any 16 bytes will do for a cluster that lives for one test.
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"


def broker_jars() -> list[Path]:
    """The broker's jars, beside those of Delta; resolved once, through Spark's own Ivy.

    Raises:
        RuntimeError: they cannot be had, with the end of what Ivy said.
    """
    folder = ivy_folder().parent / "kafka-broker-{}".format(PACKAGES[0].rsplit(":", 1)[1])
    if not folder.exists():
        # Ivy copies jar by jar, so a folder under its final name is always whole.
        draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        draft.mkdir(parents=True)
        script = draft / "nothing.py"
        script.touch()
        options = ["--master", "local[1]", "--packages", ",".join(PACKAGES), "--conf", f"spark.jars.ivy={draft}"]
        done = subprocess.run(
            [str(SPARK_HOME / "bin" / "spark-submit"), *options, str(script)],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_HOME": str(SPARK_HOME)},
        )
        if done.returncode:
            shutil.rmtree(draft)
            raise RuntimeError(f"The jars of a Kafka broker cannot be resolved: {done.stderr[-2000:]}")
        draft.rename(folder)
    # Spark's resolver leaves out what Spark brings itself, which is Scala's library alone.
    return [*sorted((folder / "jars").glob("*.jar")), *(SPARK_HOME / "jars").glob("scala-library-*.jar")]


@contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Ports of loopback that nobody listens on, held so that they are given to nobody else.

    A server that allows addresses to be used again, as Java's do, may listen on a port that is held thus: bound, and
    not listened on.
    """
    with ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        yield [holder.getsockname()[1] for holder in holders]


def _properties(folder: Path, client: int, controller: int) -> str:
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder / "data"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


@dataclass(frozen=True)
class Broker:
    """A broker that answers.

    Attributes:
        servers: its bootstrap servers.
    """

    servers: str

    @property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def create(self, topic: str, partitions: int) -> None:
        admin = self.admin  # held until the answer is there: its end ends the call
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE)

    def send(self, topic: str, partition: int, values: Sequence[bytes | Mapping[str, Any] | None]) -> None:
        """Appends messages to a partition, in order; a mapping goes as JSON, None as a tombstone."""
        producer = Producer({"bootstrap.servers": self.servers, "acks": "all", "log_level": 0})
        for value in values:
            body = json.dumps(value).encode() if isinstance(value, Mapping) else value
            producer.produce(topic, body, partition=partition)
        assert producer.flush(PATIENCE) == 0

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Drops the messages below an offset, as retention does."""
        place = TopicPartition(topic, partition, before)
        admin = self.admin
        admin.delete_records([place])[place].result(PATIENCE)


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """A broker with its data in an empty folder; it is stopped at the end of the `with`."""
    with held_ports(2) as (client, controller), (folder / "broker.log").open("w") as log:
        properties = folder / "server.properties"
        properties.write_text(_properties(folder, client, controller))
        java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]
        java.append(":".join(map(str, broker_jars())))
        formatted = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
        subprocess.run(formatted, check=True, capture_output=True)
        broker = Broker(f"127.0.0.1:{client}")
        process = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
        try:
            _await_answer(broker, process, folder / "broker.log")
            yield broker
        finally:
            process.kill()
            process.wait()


def _await_answer(broker: Broker, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            broker.admin.list_topics(timeout=2)
            return
        except KafkaException:
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"no answer from the broker: {log.read_text()[-4000:]}"
