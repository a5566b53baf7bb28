"""The page about sending purchases and events runs as it stands, its requests against the API."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from programme.settings import Settings
from serving.live import Live
from serving.online.kafka_source import KafkaConfig
from serving.points import PointsDesk
from tests.docs.test_how_to import blocks, called, shows
from tests.serving.calling import client_of


def sent(client: TestClient, command: str) -> Any:
    """Send what a curl command would send."""
    program, url, *rest = shlex.split(command)
    assert program == "curl"
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
    route = re.sub(r"^http://127\.0\.0\.1:3000", "", url)
    if "-d" not in options:
        return client.get(route, headers=headers)
    return client.post(route, content=options["-d"], headers=headers)


def test_what_the_page_sends_is_answered_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answers: dict[str, Any] = {}
    printed = ""
    desk = PointsDesk(Settings(home=tmp_path / "var" / "corner"))
    with client_of(Live(), desk=desk) as client:
        for language, name, _, text in blocks("send-events.md"):
            if language == "bash":
                printed = called(text)
            elif language == "curl":
                answer = sent(client, text)
                assert answer.status_code == (202 if "-d" in text else 200)
                answers[name] = answer.json()
            elif language == "json":
                assert promised(json.loads(text), answers[name]), answers[name]
            elif language in ("csv", "toml"):
                Path(name).write_text(text)
            elif not name:
                shows(printed, text)
    desk.close()

    assert set(answers) == {"purchases", "events", "waiting"}


def promised(said: Any, found: Any) -> bool:
    """Return whether an answer holds what the page says of it; it may hold more."""
    if isinstance(said, dict):
        return all(key in found and promised(value, found[key]) for key, value in said.items())
    if isinstance(said, list):
        return len(said) == len(found) and all(map(promised, said, found))
    return bool(said == found)


def test_the_settings_of_kafka_are_those_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = blocks("send-events.md")
    (shell,) = (text for _, name, _, text in pages if name == "shell")
    (file,) = (text for _, name, _, text in pages if name == "kafka.toml")
    (tmp_path / "kafka.toml").write_text(file)
    for name, value in re.findall(r"(PERENNIAL_\w+)=(\S+)", shell):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KAFKA_PASSWORD", "hush")

    config = KafkaConfig.of(Settings.load(tmp_path))

    assert config.brokers == "kafka-1:9092,kafka-2:9092"
    assert config.topics == {"till": "purchase", "web": "event"}
    assert config.client["sasl.password"] == "hush"
