"""The client is what its description makes it, and the page on CRMs does what it says."""

import importlib.util
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

import perennial
from programme.settings import Settings
from serving import webhooks
from serving.access.gatekeeper import Gatekeeper
from serving.api.app import create_api
from serving.live import Live
from serving.online import changes, hooks
from serving.online.store import OnlineStore, StoredMember
from serving.points import PointsDesk
from tests.actions.receiver import SECRET
from tests.docs.test_how_to import blocks
from tests.serving.calling import shell_of
from tests.serving.published import Published

CLIENT = Path(__file__).parents[2] / "docs" / "client"
PAGE = "sync-a-crm.md"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_client_{name}", CLIENT / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CLIENT_MODULE = loaded("perennial_client")


@dataclass(frozen=True)
class Running:
    """A service on a socket of this machine."""

    address: str
    settings: Settings
    desk: PointsDesk

    def client(self, **asked: Any) -> Any:
        return CLIENT_MODULE.Perennial(self.address, **asked)

    def move(self, member_id: str, **traits: Any) -> None:
        """Let a member come to stand elsewhere, as the worker would: row and changes together."""
        store = OnlineStore(self.desk.database)
        before = store.read([member_id])[member_id]
        after = replace(before, traits={**before.traits, **traits}, seq=before.seq + 1)

        def work(connection: Any) -> None:
            store.write(connection, [after])
            changes.record(connection, member_id, before.traits, after.traits, datetime.now(UTC))

        self.desk.database.write(work)


@pytest.fixture
def running(published: Published, tmp_path: Path) -> Iterator[Running]:
    """Serve the published members from a database of their own."""
    source, target = published.settings.home / "programme.db", tmp_path / "programme.db"
    with closing(sqlite3.connect(source)) as whole, closing(sqlite3.connect(target)) as copy:
        whole.backup(copy)
    url = f"sqlite:///{target}"
    settings = published.settings.model_copy(update={"db_url": url})
    desk, live = PointsDesk(settings), Live()
    assert live.refresh(settings)
    shell = shell_of(create_api(live, desk), live, Gatekeeper(require_keys=False))
    server = uvicorn.Server(
        uvicorn.Config(shell, "127.0.0.1", 0, lifespan="off", log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(f"http://127.0.0.1:{port}", settings, desk)
    server.should_exit = True
    thread.join()
    desk.close()


def test_the_client_is_the_one_its_description_makes() -> None:
    made = loaded("generate").generated(create_api(Live(), PointsDesk()).openapi())

    assert (CLIENT / "perennial_client.py").read_text("utf-8") == made, "run: make client"


def test_the_client_asks_and_is_answered(running: Running) -> None:
    client = running.client(language="zh")

    answer = client.score_members({"member_ids": ["m001", "nobody"]})
    assert [one["known"] for one in answer["scores"]] == [True, False]
    assert client.member_profile("m001")["stage"]["label"] == "成长期"
    assert client.member_churn("m001", drivers=False)["churn"]["churn_probability"] > 0
    assert len(client.list_tags(limit=3)["tags"]) == 3
    assert client.list_changes(what=["tag", "stage"])["changes"] == []


def test_a_refusal_is_raised_with_its_code(running: Running) -> None:
    with pytest.raises(CLIENT_MODULE.Refused) as refused:
        running.client().member_profile("nobody? at all, 会员 #1")

    assert (refused.value.status, refused.value.code) == (404, "unknown_member")
    with pytest.raises(CLIENT_MODULE.Away):
        CLIENT_MODULE.Perennial("http://127.0.0.1:1", attempts=1).list_models()
    with pytest.raises(ValueError, match="no address"):
        CLIENT_MODULE.Perennial("file:///etc/passwd")


def test_a_download_is_saved_whole_and_not_fetched_twice(running: Running, tmp_path: Path) -> None:
    client = running.client()

    export = client.export_scores_csv()
    export.save(tmp_path / "scores.csv")

    assert (tmp_path / "scores.csv").read_text("utf-8").startswith("member_id,")
    assert client.export_scores_csv(if_none_match=export.etag) is None


@pytest.fixture
def page(
    running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """Run the page's commands and its program; return the program's names."""
    monkeypatch.setenv("PERENNIAL_HOME", str(running.settings.home))
    monkeypatch.setenv("PERENNIAL_DB_URL", running.settings.database_url)
    monkeypatch.setenv("CRM_HOOK_SECRET", SECRET)
    told = blocks(PAGE)
    for language, _, _, text in told:
        if language == "shell":
            for line in text.splitlines():
                done = CliRunner().invoke(perennial.app, line.split()[1:])
                assert done.exit_code == 0, done.output
    code = "\n".join(text for _, name, _, text in told if name == "crm.py")
    names: dict[str, Any] = {"tmp": tmp_path}
    monkeypatch.setitem(sys.modules, "perennial_client", CLIENT_MODULE)
    exec(compile(code, "crm.py", "exec"), names)
    names["copy"] = names["open_copy"](str(tmp_path / "crm.db"))
    yield names
    names["copy"].close()


def standing(copy: sqlite3.Connection) -> dict[tuple[str, str, str], str]:
    return {(a, b, c): d for a, b, c, d in copy.execute("select * from members")}


def expected(running: Running) -> dict[tuple[str, str, str], str]:
    members = [f"m{number:03d}" for number in range(500)]
    found: dict[tuple[str, str, str], str] = {}
    for one in OnlineStore(running.desk.database).read(members).values():
        found |= _of(one)
    return found


def _of(one: StoredMember) -> dict[tuple[str, str, str], str]:
    who, traits = one.member_id, one.traits
    return {
        **{(who, what, ""): traits[what] for what in ("risk_band", "stage") if traits[what]},
        **{(who, "segment", name): value for name, value in traits["segments"].items()},
        **{(who, "tag", tag): "held" for tag in traits["tags"]},
    }


def test_a_crm_that_does_as_the_page_says_stays_in_step(
    running: Running, page: dict[str, Any], tmp_path: Path
) -> None:
    client, copy = running.client(), page["copy"]
    page["begin"](client, copy, tmp_path)
    assert standing(copy) == expected(running)

    running.move("m001", stage="lost", tags=["tea"])
    running.move("m002", risk_band="high", segments={"rfm_group": "at_risk"})
    assert page["follow"](client, copy, tmp_path) > 2
    assert standing(copy) == expected(running)
    assert page["follow"](client, copy, tmp_path) == 0

    running.move("m003", stage="lost")
    changes.forget(running.desk.database, datetime.now(UTC) + timedelta(days=1))
    running.move("m004", stage="lost")
    running.move("m004", stage="new")
    changes.forget(running.desk.database, datetime.now(UTC) + timedelta(days=1))
    page["follow"](client, copy, tmp_path)  # it was away for too long, and began again
    assert standing(copy) == expected(running)

    assert page["take_scores"](client, tmp_path)
    assert not page["take_scores"](client, tmp_path)


def test_a_crm_that_is_told_as_the_page_says_stays_in_step(
    running: Running, page: dict[str, Any], tmp_path: Path
) -> None:
    copy = page["copy"]
    page["begin"](running.client(), copy, tmp_path)
    statuses: list[int] = []

    def post(url: str, headers: dict[str, str], body: bytes, *, inside: bool) -> int:
        assert (url, inside) == ("https://crm.example.com/perennial", False)
        assert set(headers) >= {webhooks.KEY, webhooks.MOMENT, webhooks.SIGNATURE}
        forged = {**headers, webhooks.SIGNATURE: "sha256=" + "0" * 64}
        old = {**headers, webhooks.MOMENT: "1"}
        statuses.extend(page["receive"](copy, SECRET.encode(), one, body) for one in (forged, old))
        with sqlite3.connect(tmp_path / "crm.db") as own:  # on the thread that delivers
            return int(page["receive"](own, SECRET.encode(), headers, body))

    running.move("m001", stage="lost", tags=["tea"])
    one = hooks.deliver_due(running.desk.database, lambda: datetime.now(UTC), post=post)

    assert (one.batches, one.failed) == (1, {})
    assert statuses == [401, 401]
    assert standing(copy) == expected(running)


def test_the_page_says_what_is_true() -> None:
    said = (CLIENT.parent / "how-to" / PAGE).read_text("utf-8")

    assert changes.KEPT_DAYS == 30 and "kept for 30 days" in said
    assert hooks.BATCH == 500 and "up to 500 at a time" in said
    assert timedelta(seconds=2) == hooks.FIRST_PAUSE and "after 2 seconds, then 4" in said
    assert timedelta(minutes=15) == hooks.LONGEST_PAUSE and "a quarter of an hour" in said
    for name in (webhooks.KEY, webhooks.MOMENT, webhooks.SIGNATURE):
        assert f"`{name}`" in said
