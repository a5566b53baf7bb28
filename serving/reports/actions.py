"""Campaigns on the terminal: offers, proposals, deliveries, read-outs, and why."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import func, select

from actions.campaigns import Campaign
from actions.decisions import Told
from actions.dispatch import Delivered
from actions.effects import Effect, adjusted_p_values
from actions.offers import Catalogue
from actions.readout import OFFER_LEAST, ReadOut
from actions.tables import MESSAGES
from programme.database import Database
from programme.words import label, money
from serving.trigger_run import Fired


def show_offers(console: Console, catalogue: Catalogue, currency: str) -> None:
    """Print a catalogue."""
    table = Table(title=f"Offers {escape(catalogue.version)}", title_justify="left")
    for heading in ("offer", "kind", "channel", "name"):
        table.add_column(heading, overflow="fold")
    for heading in ("contact", "redeemed", "points"):
        table.add_column(heading, justify="right")
    for offer in catalogue.offers:
        table.add_row(
            offer.id, offer.kind, offer.channel, escape(offer.name.en),
            _money(catalogue.minor_units(offer.contact_cost), currency),
            _money(catalogue.minor_units(offer.redeem_cost), currency),
            str(offer.points) if offer.points else "",
        )  # fmt: skip
    console.print(table)


def show_proposal(console: Console, campaign: Campaign, currency: str) -> None:
    """Print what a campaign would do."""
    facts = campaign.facts
    console.print(
        f"Campaign {campaign.campaign_id} ({campaign.state}): as of {campaign.as_of}, open to "
        f"{facts['open_to']:,} of {facts['members']:,} members, offers {campaign.catalogue}",
        markup=False,
    )
    _show_arms(console, facts)
    table = Table(title="Offers", title_justify="left")
    for heading in ("offer", "channel"):
        table.add_column(heading, overflow="fold")
    for heading in ("eligible", "contacted", "of them drawn", "control", "expected each"):
        table.add_column(heading, justify="right")
    table.add_column("effect")
    for one in facts["offers"]:
        profit = one["profit_cents"]
        table.add_row(
            one["offer"], one["channel"], f"{one['eligible']:,}", f"{one['contacted']:,}",
            f"{one['explored']:,}", f"{one['control']:,}",
            "" if profit is None else money(profit, currency), escape(one["why"]),
        )  # fmt: skip
    console.print(table)
    _show_scarce(console, facts, currency)
    console.print(
        f"expected incremental profit of those contacted: "
        f"{money(facts['expected_profit_cents'], currency)}; offers drawn at random for "
        f"{facts['explore_rate']:.1%} of members"
        + (f", kept there by {facts['explore_bound_by']}" if facts["explore_bound_by"] else ""),
        markup=False,
    )
    if facts["harmed"]:
        console.print(
            f"{facts['harmed']:,} members are left alone: every offer is expected to harm, for "
            "sure", markup=False,
        )  # fmt: skip
    if facts["is_fallback"]:
        console.print(f"the plan is the greedy one; it misses up to {facts['gap']:.1%}")
    _show_power(console, facts, campaign, currency)


def _show_arms(console: Console, facts: dict[str, Any]) -> None:
    table = Table(title="Members", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for arm, count in facts["arms"].items():
        table.add_row(label(f"arm.{arm}", "en"), f"{count:,}")
    console.print(table)
    if facts["refusals"]:
        table = Table(title="Refused, of members and offers", title_justify="left",
                      show_header=False)  # fmt: skip
        table.add_column()
        table.add_column(justify="right")
        for gate, count in facts["refusals"].items():
            table.add_row(label(f"gate.{gate}", "en"), f"{count:,}")
        console.print(table)


def _show_scarce(console: Console, facts: dict[str, Any], currency: str) -> None:
    if not facts["capacity"]:
        return
    table = Table(title="What there is only so much of", title_justify="left")
    table.add_column("")
    for heading in ("there is", "used", "one more brings"):
        table.add_column(heading, justify="right")
    planned = any(one["learned"] for one in facts["offers"])
    for name, there_is in facts["capacity"].items():
        price = facts["prices"].get(name, 0.0)
        is_money = name == "budget"
        brings = f"{price:.2f} for each {currency} more" if is_money else money(price, currency)
        table.add_row(
            name,
            money(there_is, currency) if is_money else f"{there_is:,.0f}",
            money(facts["used"][name], currency) if is_money else f"{facts['used'][name]:,.0f}",
            brings if planned else "not known before an effect was measured",
        )
    console.print(table)


def _show_power(console: Console, facts: dict[str, Any], campaign: Campaign, currency: str) -> None:
    power = facts["power"]
    if power is None:
        console.print("no effect can be told: an arm has fewer than two members", style="yellow")
        return
    console.print(
        f"with {power['treated']:,} contacted and {power['controls']:,} held back, four campaigns "
        f"in five find a true effect of {money(power['detectable_cents'], currency)} of margin a "
        f"member in {campaign.brief.horizon_days} days; "
        f"{money(power['with_before_cents'], currency)} once spend before is taken out",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def show_state(console: Console, database: Database, campaign: Campaign) -> None:
    """Print how far a campaign has come, and its messages."""
    counted = (
        select(MESSAGES.c.state, func.count())
        .where(MESSAGES.c.campaign_id == campaign.campaign_id)
        .group_by(MESSAGES.c.state)
        .order_by(MESSAGES.c.state)
    )
    with database.read() as connection:
        counts = connection.execute(counted).all()
    said = ", ".join(f"{count:,} {state}" for state, count in counts) or "none"
    console.print(
        f"campaign {campaign.campaign_id} is {campaign.state}; messages: {said}", markup=False
    )


def show_delivered(console: Console, done: Delivered) -> None:
    """Print what a deliverer did."""
    console.print(
        f"{done.sent:,} sent, {done.later:,} later, {done.given_up:,} given up", markup=False
    )
    for gate, count in (done.refused or {}).items():
        console.print(f"{count:,} refused: {label(f'gate.{gate}', 'en')}", markup=False)
    for path in done.files:
        console.print(f"written: {path}", markup=False, soft_wrap=True)


def show_campaigns(console: Console, found: Sequence[Campaign], currency: str) -> None:
    """Print all campaigns; the effects of those read out are judged together."""
    table = Table(title_justify="left")
    for heading in ("campaign", "state", "as of", "offers", "contacted", "profit a member",
                    "p, judged together"):  # fmt: skip
        table.add_column(heading, overflow="fold")
    read = [one for one in found if one.readout and one.readout["profit"]]
    p_values = adjusted_p_values([one.readout["profit"]["p_value"] for one in read if one.readout])
    judged = {one.campaign_id: p for one, p in zip(read, p_values, strict=True)}
    for one in found:
        arms = one.facts.get("arms", {})
        profit = one.readout["profit"] if one.readout else None
        table.add_row(
            one.campaign_id, one.state, str(one.as_of), one.catalogue,
            f"{arms.get('treated', 0) + arms.get('explored', 0):,}",
            "" if profit is None else money(profit["difference"], currency),
            f"{judged[one.campaign_id]:.3f}" if one.campaign_id in judged else "",
        )  # fmt: skip
    console.print(table)
    if any(one.readout and one.readout.get("simulated") for one in found):
        console.print(label("campaign.simulated", "en"), markup=False, style="yellow")


def show_read_out(console: Console, found: ReadOut, currency: str) -> None:
    """Print what a campaign changed."""
    when = "complete" if found.complete else f"so far, until {found.until:%Y-%m-%d %H:%M} UTC"
    console.print(f"Campaign {found.campaign_id}: {when}", markup=False)
    if found.simulated:
        console.print(label("campaign.simulated", "en"), markup=False, style="yellow")
    table = Table(title_justify="left")
    table.add_column("")
    for heading in ("members", "spend each", "margin each", "bought"):
        table.add_column(heading, justify="right")
    for name, arm in (("assigned to contact", found.treated), ("held back", found.control)):
        table.add_row(
            name, f"{arm.members:,}", money(arm.spend_cents, currency),
            money(arm.margin_cents, currency), f"{arm.active:.1%}",
        )  # fmt: skip
    console.print(table)
    if found.stopped is not None:
        console.print(_STOPPED[found.stopped].format(p=found.ratio_p_value), style="red")
        return
    console.print(
        f"arms as drawn: p = {found.ratio_p_value:.3f}; {found.sent:,} messages sent, "
        f"{found.redemptions:,} redemptions, cost {money(found.cost_cents, currency)}; spend "
        f"before took away {found.variance_cut:.0%} of the noise",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    table = Table(title="What it changed, a member assigned", title_justify="left")
    table.add_column("")
    for heading in ("difference", "95 % if read once", "95 % at any look", "p"):
        table.add_column(heading, justify="right")
    for what, effect in (("profit", found.profit), ("margin", found.margin)):
        if effect is not None:
            table.add_row(what, *_effect(effect, lambda cents: money(cents, currency)))
    if found.active is not None:
        table.add_row("bought at all", *_effect(found.active, lambda share: f"{share:+.2%}"))
    for offer in found.offers:
        name = f"profit, {offer.offer} ({offer.treated:,} / {offer.controls:,})"
        if offer.profit is not None:
            table.add_row(name, *_effect(offer.profit, lambda cents: money(cents, currency)))
        else:
            table.add_row(
                name, "", label("campaign.offer_too_few", "en", least=OFFER_LEAST), "", ""
            )
    console.print(table)
    if found.back is not None:
        low, high = found.back.interval
        console.print(
            f"each {currency} spent brought {found.back.ratio:+.2f} beyond itself "
            f"[{low:+.2f}, {high:+.2f}]", markup=False,
        )  # fmt: skip


_STOPPED = {
    "sample_ratio": "the arms are not those that were drawn (p = {p:.1e}): nothing is read out. "
    "Something took members from one arm and not from the other; find it first.",
    "no_control": "members have a right to its offers: nobody was held back, and nothing can be "
    "compared.",
    "too_few": "an arm has fewer than two members: nothing can be told.",
}


def _effect(effect: Effect, said: Any) -> tuple[str, str, str, str]:
    def between(pair: tuple[float, float]) -> str:
        return f"{said(pair[0])} to {said(pair[1])}"

    return (
        said(effect.difference), between(effect.interval), between(effect.always),
        f"{effect.p_value:.3f}",
    )  # fmt: skip


def show_why(console: Console, told: Sequence[Told], currency: str, language: str) -> None:
    """Print what was decided about a member, and why each offer stood as it did."""
    for one in told:
        decision = one.decision
        message = "" if one.message is None else f"; message {one.message}"
        if one.why and one.message == "refused":
            message += f": {label(f'gate.{one.why}', language)}"
        console.print(
            f"{one.decided_at:%Y-%m-%d %H:%M} UTC, campaign {decision.campaign_id}: "
            f"{label(f'arm.{decision.arm}', language)}"
            + (f", {decision.offer}" if decision.offer else "")
            + f" (chance {decision.propensity:.4f}){message}",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        table = Table(title_justify="left")
        table.add_column("offer", overflow="fold")
        for heading in ("expected profit", "± error", "chance"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for scored in decision.considered:
            table.add_row(
                scored.offer,
                "" if scored.profit is None else money(scored.profit, currency),
                "" if scored.error is None else money(scored.error, currency),
                f"{scored.chance:.4f}",
                _standing(scored.offer, decision.planned, scored.refused, language),
            )
        console.print(table)
        models = one.facts.get("models", {})
        if models:
            console.print(f"scores: {models.get('scores', '')}", markup=False, soft_wrap=True)


def show_fired(console: Console, done: Sequence[Fired]) -> None:
    """Print what each trigger did."""
    if not done:
        console.print("no triggers are declared", markup=False)
    for one in done:
        if one.again:
            said = "ran today already; nothing was done"
        elif one.campaign_id is None:
            said = "fired for nobody new"
        else:
            said = (
                f"fired for {one.fired:,}: {one.contacted:,} contacted, {one.control:,} held back, "
                f"{one.refused:,} refused or left alone"
                + (f", {one.over:,} beyond the day's most" if one.over else "")
                + f"; campaign {one.campaign_id}"
            )
        console.print(f"{one.trigger}: {said}", markup=False)


def why_json(told: Sequence[Told]) -> list[dict[str, Any]]:
    """Return decisions about a member as plain values."""
    return [
        {
            "decision_id": one.decision.decision_id, "campaign_id": one.decision.campaign_id,
            "decided_at": one.decided_at.isoformat(), "arm": one.decision.arm,
            "planned": one.decision.planned, "offer": one.decision.offer,
            "propensity": one.decision.propensity, "message": one.message, "why": one.why,
            "models": one.facts.get("models", {}),
            "considered": [
                {
                    "offer": scored.offer, "profit_cents": scored.profit,
                    "error_cents": scored.error, "chance": scored.chance,
                    "refused": scored.refused,
                }
                for scored in one.decision.considered
            ],
        }
        for one in told
    ]  # fmt: skip


def _standing(offer: str, planned: str | None, refused: str | None, language: str) -> str:
    if refused is not None:
        return label(f"gate.{refused}", language)
    if offer == planned:
        return label("arm.treated", language)
    return label("gate.resources_used_up", language) if planned is None else ""


def _money(minor_units: float, currency: str) -> str:
    return money(minor_units, currency) if minor_units else ""
