"""The outbox: once each, gated at the moment of sending, whatever breaks in between."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from actions import campaigns
from actions.dispatch import ATTEMPTS_MAX, Delivered, Deliverer
from actions.guardrails import History
from actions.routes import Route, Routes
from actions.tables import MESSAGES
from loyalty import points
from loyalty.terms import Terms
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import Programme, Settings
from serving.webhooks import post
from tests.actions import campaign as made
from tests.actions.campaign import NOW
from tests.actions.receiver import SECRET, Receiver

TERMS = Terms("Europe/Berlin", 2)


@pytest.fixture
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def launched(database: Database, settings: Settings, shop: Programme) -> Database:
    made.launch(database, settings, shop)
    return database


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("HOOK_KEY", SECRET)
    opened = Receiver()
    yield opened
    opened.close()


def deliverer(
    database: Database, settings: Settings, shop: Programme, *,
    history: Callable[[], History] = History, receiver: Receiver | None = None,
    format: str = "csv",
) -> Deliverer:  # fmt: skip
    routes: dict[str, Any] = {"email": {"via": "file", "format": format}}
    if receiver is not None:
        routes["sms"] = {"via": "webhook", "url": receiver.url, "secret_env": "HOOK_KEY"}
    return Deliverer(
        database, shop, settings.home, Routes.model_validate({"route": routes}),
        lambda _: made.catalogue(shop), history, TERMS, post,
    )  # fmt: skip


def run(its: Deliverer, at: datetime = NOW) -> Delivered:
    return its.run(now=lambda: at, tell=lambda _: None)


def states(database: Database) -> dict[str, tuple[str, str | None]]:
    with database.read() as connection:
        rows = connection.execute(select(MESSAGES.c.member_id, MESSAGES.c.state, MESSAGES.c.why))
        return {row.member_id: (row.state, row.why) for row in rows}


def listed(folder: Path) -> list[dict[str, str]]:
    return [
        row
        for path in sorted((folder / "outbox").glob("*.csv"))
        for row in csv.DictReader(io.StringIO(path.read_bytes().decode()))
    ]


def test_each_channel_gets_its_messages_once(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    its = deliverer(launched, settings, shop, receiver=receiver)

    assert run(its).sent == 3
    assert run(its).sent == 0
    assert set(states(launched).values()) == {("sent", None)}
    (message,) = receiver.done.values()
    assert (message["member_id"], message["offer"]) == ("m1", "voucher")
    assert message["valid_until"] == "2026-11-29"
    (row,) = listed(settings.home)
    assert (row["member_id"], row["text_zh"], row["text_en"]) == ("m2", "想你", "'=We miss you")
    assert points.balance(launched, TERMS, "m3", now=NOW).active == 200_00


def test_a_parquet_hand_off_keeps_text_as_it_is(
    launched: Database, settings: Settings, shop: Programme
) -> None:
    run(deliverer(launched, settings, shop, format="parquet"))

    (path,) = (settings.home / "outbox").glob("*.parquet")
    assert pq.read_table(path).to_pylist()[0]["text_en"] == "=We miss you"


def test_consent_that_was_taken_back_since_is_heard(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    no = pd.DataFrame(
        [("m1", "sms", "marketing", False)], columns=["member_id", "channel", "purpose", "granted"]
    )
    history = History(consents=no, suppressed={"m2": "complained by telephone"})

    done = run(deliverer(launched, settings, shop, history=lambda: history, receiver=receiver))
    assert done.refused == {"no_consent": 1, "suppressed": 1}
    assert (receiver.calls, listed(settings.home)) == (0, [])
    assert states(launched) == {
        "m1": ("refused", "no_consent"), "m2": ("refused", "suppressed"), "m3": ("sent", None),
    }  # fmt: skip


def test_nothing_is_sent_in_quiet_hours_and_all_of_it_after(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    its = deliverer(launched, settings, shop, receiver=receiver)
    night = datetime(2026, 11, 2, 22, 0, tzinfo=UTC)

    assert (run(its, night).sent, run(its, night).later) == (1, 0)
    assert receiver.calls == 0
    assert run(its, datetime(2026, 11, 3, 7, 59, tzinfo=UTC)).sent == 0
    assert run(its, datetime(2026, 11, 3, 8, 0, tzinfo=UTC)).sent == 2


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_receiver_that_is_down_is_asked_again_later_and_later(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver, status: int
) -> None:
    receiver.answers = [status, status]
    its = deliverer(launched, settings, shop, receiver=receiver)

    run(its)
    assert states(launched)["m1"] == ("waiting", f"answered {status}")
    assert (run(its).sent, receiver.calls) == (0, 1)
    run(its, NOW + timedelta(seconds=30))
    assert (run(its, NOW + timedelta(seconds=60)).sent, receiver.calls) == (0, 2)
    assert (run(its, NOW + timedelta(seconds=90)).sent, receiver.calls) == (1, 3)
    assert len(receiver.done) == 1


def test_a_receiver_that_never_answers_is_given_up_at_last(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    receiver.answers = [500] * 100
    its, at = deliverer(launched, settings, shop, receiver=receiver), NOW

    for _ in range(ATTEMPTS_MAX):
        run(its, at)
        at += timedelta(days=1)
    assert (states(launched)["m1"], receiver.calls) == (("given_up", "answered 500"), ATTEMPTS_MAX)


@pytest.mark.parametrize("status", [400, 401, 410, 302])
def test_a_refusal_for_good_is_not_repeated_and_no_redirect_is_followed(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver, status: int
) -> None:
    receiver.answers = [status]
    run(deliverer(launched, settings, shop, receiver=receiver))

    assert states(launched)["m1"] == ("given_up", f"answered {status}")
    assert receiver.calls == 1


def test_nobody_there_is_no_answer(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    its = deliverer(launched, settings, shop, receiver=receiver)
    receiver.close()

    assert run(its).sent == 2
    state, why = states(launched)["m1"]
    assert state == "waiting" and why is not None and why.startswith("no answer")


def test_a_deliverer_killed_between_answer_and_note_has_its_effect_once(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    class Killed(BaseException):
        pass

    def killed_after(route: Route, message_id: str, body: bytes, *, now: datetime) -> None:
        post(route, message_id, body, now=now)
        raise Killed

    its = deliverer(launched, settings, shop, receiver=receiver)
    killed = Deliverer(**{**vars(its), "post": killed_after})
    with pytest.raises(Killed):
        run(killed)
    assert states(launched)["m1"][0] == "waiting"

    run(its)
    assert states(launched)["m1"] == ("sent", None)
    assert (receiver.calls, len(receiver.done)) == (2, 1)
    assert list(receiver.done) == [sha256(b"autumn/m1").hexdigest()]


@pytest.mark.parametrize("step", ["_write", "_end_sent"])
def test_a_deliverer_killed_about_a_hand_off_hands_over_once(
    launched: Database, settings: Settings, shop: Programme, monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:  # fmt: skip
    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Deliverer, step, kill)
        with pytest.raises(Killed):
            run(deliverer(launched, settings, shop))
    run(deliverer(launched, settings, shop))

    assert sorted(row["member_id"] for row in listed(settings.home)) == ["m1", "m2"]
    assert set(states(launched).values()) == {("sent", None)}
    assert points.balance(launched, TERMS, "m3", now=NOW).active == 200_00


def test_points_and_the_word_that_they_were_sent_commit_together(
    launched: Database, settings: Settings, shop: Programme, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def posts_and_dies(*args: Any, **more: Any) -> None:
        real(*args, **more)
        raise Killed

    real = points.post_on
    with monkeypatch.context() as patch:
        patch.setattr(points, "post_on", posts_and_dies)
        with pytest.raises(Killed):
            run(deliverer(launched, settings, shop))
    assert states(launched)["m3"][0] == "waiting"

    run(deliverer(launched, settings, shop))
    assert points.balance(launched, TERMS, "m3", now=NOW).active == 200_00


def test_points_that_nobody_may_post_stop_the_delivery_and_lose_nothing(
    launched: Database, settings: Settings, shop: Programme
) -> None:
    its = deliverer(launched, settings, shop)
    with pytest.raises(NotReady, match="no rules of points hold"):
        run(Deliverer(**{**vars(its), "terms": None}))
    assert {state for state, _ in states(launched).values()} == {"waiting"}

    assert run(its).sent == 3


def test_two_deliverers_do_not_meet(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    its = deliverer(launched, settings, shop, receiver=receiver)
    met: list[BaseException] = []

    def another() -> None:
        try:
            run(deliverer(launched, settings, shop, receiver=receiver))
        except NotReady as error:
            met.append(error)

    receiver.after = another
    run(its)
    assert len(met) == 1 and receiver.calls == 1


def test_what_a_closed_campaign_still_had_to_send_stays_unsent(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver
) -> None:
    campaigns.close(launched, "autumn", None, now=NOW)

    assert run(deliverer(launched, settings, shop, receiver=receiver)).sent == 0
    assert receiver.calls == 0


def test_a_message_of_a_day_gone_by_is_not_sent(
    launched: Database, settings: Settings, shop: Programme
) -> None:
    launched.write(
        lambda connection: connection.execute(
            update(MESSAGES).values(due_at=datetime(2026, 12, 1, 11, tzinfo=UTC))
        )
    )
    done = run(deliverer(launched, settings, shop), datetime(2026, 12, 1, 11, tzinfo=UTC))

    assert done.refused == {"not_on_this_day": 1}
    assert states(launched)["m2"] == ("refused", "not_on_this_day")
    assert date(2026, 12, 1) > date(2026, 11, 30)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[route.sms]\nvia = "pigeon"', "it must be one of"),
        ('[route.pigeon]\nvia = "file"', "route.pigeon"),
        ('[route.sms]\nvia = "webhook"', "a webhook has a url and a secret_env"),
        ('[route.sms]\nvia = "webhook"\nurl = "ftp://x"\nsecret_env = "A"', "match the pattern"),
        ('[route.points]\nvia = "file"', "points are posted to the ledger"),
        ("[route", "is not TOML"),
        ("x = " + "[" * 20_000, "is not TOML"),
    ],
)
def test_faulty_routes_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    from actions import routes

    (tmp_path / routes.ROUTES_FILE).write_text(text)
    with pytest.raises(InputRefused, match="Nothing was sent") as refused:
        routes.read(tmp_path)
    assert said in str(refused.value)


def test_a_webhook_without_a_key_sends_nothing(
    launched: Database, settings: Settings, shop: Programme, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HOOK_KEY", "short")
    with pytest.raises(NotReady, match="HOOK_KEY holds no key of 16 characters"):
        run(deliverer(launched, settings, shop, receiver=receiver))
    assert receiver.calls == 0
