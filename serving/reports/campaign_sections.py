"""The parts of a campaign's page in words and figures, ready for the template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from actions.campaigns import Campaign
from actions.effects import Effect, adjusted_p_values
from actions.looks import Look
from actions.offers import Catalogue
from actions.planner import BUDGET
from actions.readout import OFFER_LEAST, ReadOut
from programme.words import label, money
from serving.reports import charts

Row = tuple[str, ...]


@dataclass(frozen=True)
class Changed:
    """What a campaign changed, in words and rows.

    Attributes
    ----------
    verdict : whether the arms are those drawn, the profit at any look and the return, in one line
    """

    verdict: str
    conclusion: str
    notes: tuple[str, ...]
    arms: tuple[Row, ...]
    effects: tuple[Row, ...]


@dataclass(frozen=True)
class Teller:
    """Says things in one language and currency; `say` speaks the codes of `campaign`."""

    say: Callable[..., str]
    language: str
    currency: str
    catalogue: Catalogue

    def asked(self, campaign: Campaign, found: ReadOut | None) -> list[Row]:
        """Return what was asked for, name and value."""
        brief, say = campaign.brief, self.say
        rows: list[Row] = [
            (say("id"), campaign.campaign_id if not brief.name else
             f"{brief.name} ({campaign.campaign_id})"),
            (say("state"), say(f"state_{campaign.state}")),
            (say("as_of"), str(campaign.as_of)),
            (say("catalogue"), campaign.catalogue),
            (say("horizon"), say("horizon_days", days=brief.horizon_days)),
            (say("control_share"), f"{brief.control_share:.1%}"),
            (say("explore_share"), f"{brief.explore_share:.1%}"),
            (say("coverage"), f"{brief.coverage:.1%}"),
        ]  # fmt: skip
        if "open_to" in campaign.facts:
            rows.append((say("open_to"), f"{campaign.facts['open_to']:,}"))
        if brief.budget is not None:
            rows.append((say("budget"), self.money(self.catalogue.minor_units(brief.budget))))
        for channel, most in sorted(brief.capacity.items()):
            rows.append((f"{say('messages')}: {self.channel(channel)}", f"{most:,}"))
        if campaign.approved_by is not None:
            rows.append((say("approved_by"), campaign.approved_by))
        if campaign.launched_at is not None:
            rows.append((say("launched_at"), _moment(campaign.launched_at)))
        if found is not None:
            rows.append((say("read_until"), _moment(found.until)))
        return rows

    def offers(self, campaign: Campaign) -> list[Row]:
        """Return each offer: name, channel, eligible, contacted, drawn, held back."""
        return [
            (
                self.offer(one["offer"]), self.channel(one["channel"]), f"{one['eligible']:,}",
                f"{one['contacted']:,}", f"{one['explored']:,}", f"{one['control']:,}",
            )
            for one in campaign.facts.get("offers", ())
        ]  # fmt: skip

    def gates(self, campaign: Campaign) -> list[Row]:
        """Return each gate that refused somebody, and how often."""
        refusals = campaign.facts.get("refusals", {})
        return [
            (label(f"gate.{gate}", self.language), f"{count:,}") for gate, count in refusals.items()
        ]

    def arms(self, campaign: Campaign) -> list[Row]:
        """Return what became of the members, and of how many."""
        arms = campaign.facts.get("arms", {})
        return [(label(f"arm.{arm}", self.language), f"{count:,}") for arm, count in arms.items()]

    def left_alone(self, campaign: Campaign) -> str:
        """Say who was left alone."""
        arms = campaign.facts.get("arms")
        return self.say(
            "left_alone_told", left=None if arms is None else arms.get("left_alone", 0),
            harmed=campaign.facts.get("harmed"),
        )  # fmt: skip

    def power(self, campaign: Campaign) -> str:
        """Say what the campaign could find, as it was said before the launch."""
        power = campaign.facts.get("power") or {}
        return self.say(
            "power_told", treated=power.get("treated"), controls=power.get("controls"),
            detectable_cents=power.get("detectable_cents"),
            before_cents=power.get("with_before_cents"), days=campaign.brief.horizon_days,
        )  # fmt: skip

    def scarce(self, campaign: Campaign) -> list[Row]:
        """Return what there was only so much of, how much, what was used, what one more brings."""
        facts = campaign.facts
        # Where nothing was measured nothing was planned, and a plan's price of nought says nothing.
        planned = any(one.get("learned") for one in facts.get("offers", ()))
        return [
            (
                self._resource(name), self._amount(name, there_is),
                self._amount(name, facts["used"][name]),
                self._one_more(name, facts["prices"].get(name, 0.0))
                if planned else self.say("one_more_unknown"),
            )
            for name, there_is in facts.get("capacity", {}).items()
        ]  # fmt: skip

    def stopped(self, found: ReadOut) -> str | None:
        """Say why nothing is read out; None: it is."""
        if found.stopped is None:
            return None
        p_value = f"{found.ratio_p_value:.1e}"
        facts = {"p": p_value} if found.stopped == "sample_ratio" else {}
        return self.say(f"stopped_{found.stopped}", **facts)

    def changed(self, found: ReadOut) -> Changed | None:
        """Return what it changed; None: nothing is read out."""
        if found.profit is None or found.margin is None or found.active is None:
            return None
        low, high = found.profit.always
        verdict = self.say(
            "verdict", p=f"{found.ratio_p_value:.3f}", profit_cents=found.profit.difference,
            low_cents=low, high_cents=high, back=self._back(found),
        )  # fmt: skip
        conclusion = "surely_more" if low > 0 else "surely_less" if high < 0 else "cannot_tell"
        costs = self.say(
            "costs", sent=f"{found.sent:,}", redemptions=f"{found.redemptions:,}",
            cost_cents=found.cost_cents, cut=found.variance_cut,
        )  # fmt: skip
        notes = (costs,) if found.complete else (self.say("so_far"), costs)
        arms = [
            (self.say(name), f"{arm.members:,}", self.money(arm.spend_cents),
             self.money(arm.margin_cents), f"{arm.active:.1%}")
            for name, arm in (("assigned", found.treated), ("held_back", found.control))
        ]  # fmt: skip
        effects = [
            self._effect(self.say("profit"), found.profit, self.money),
            self._effect(self.say("margin"), found.margin, self.money),
            self._effect(self.say("bought_at_all"), found.active, lambda share: f"{share:+.2%}"),
        ]
        for one in found.offers:
            name = self.say("profit_of", offer=self.offer(one.offer))
            name += f" ({one.treated:,} / {one.controls:,})"
            if one.profit is not None:
                effects.append(self._effect(name, one.profit, self.money))
            else:
                effects.append((name, "", self.say("offer_too_few", least=OFFER_LEAST), "", ""))
        return Changed(verdict, self.say(conclusion), notes, tuple(arms), tuple(effects))

    def chart(self, found: Sequence[Look]) -> str | None:
        """Draw profit so far over days, with the band that holds at any look."""
        if not found:
            return None
        always = [look.profit.always for look in found]
        return charts.band(
            [look.day for look in found], [look.profit.difference for look in found],
            [low for low, _ in always], [high for _, high in always],
            title=self.say("over_days"), said=self.money,
        )  # fmt: skip

    def looks(self, found: Sequence[Look]) -> list[Row]:
        """Return day, profit so far and the band, each week and the last day."""
        return [
            (str(look.day), self.money(look.profit.difference),
             _between(look.profit.always, self.money))
            for look in found if look.day % 7 == 0 or look is found[-1]
        ]  # fmt: skip

    def measured(self) -> list[str]:
        """Say how effects are measured."""
        plain = [self.say(f"how_{part}") for part in ("arms", "intention", "costs", "before")]
        return [*plain, self.say("how_margin", margin_rate=float(self.catalogue.file.margin_rate))]

    def money(self, cents: float) -> str:
        """Say an amount."""
        return money(cents, self.currency)

    def offer(self, offer: str) -> str:
        """Return an offer's name."""
        name: str = getattr(self.catalogue.named(offer).name, self.language)
        return name

    def channel(self, channel: str) -> str:
        """Return a channel's name."""
        return self.say(f"channel_{channel}")

    def _back(self, found: ReadOut) -> str:
        if found.back is None:
            return self.say("back")
        low, high = found.back.interval
        return self.say(
            "back", ratio=f"{found.back.ratio:+.2f}", low=f"{low:+.2f}", high=f"{high:+.2f}"
        )

    def _effect(self, name: str, effect: Effect, said: Callable[[float], str]) -> Row:
        return (
            name, said(effect.difference), _between(effect.interval, said),
            _between(effect.always, said), f"{effect.p_value:.3f}",
        )  # fmt: skip

    def _resource(self, name: str) -> str:
        kind, _, which = name.partition(" ")
        if name == BUDGET:
            return self.say("resource_budget")
        return self.channel(which) if kind == "channel" else self.offer(which)

    def _amount(self, name: str, amount: float) -> str:
        return self.money(amount) if name == BUDGET else f"{amount:,.0f}"

    def _one_more(self, name: str, price: float) -> str:
        if price <= 0:
            return self.say("one_more_nothing")
        kind = "budget" if name == BUDGET else name.partition(" ")[0]
        # A plan prices minor units of the budget; one more unit of currency is as many of them.
        cents = price * self.catalogue.minor_units(Decimal(1)) if name == BUDGET else price
        which = {} if name == BUDGET else {kind: self._resource(name)}
        return self.say(f"one_more_{kind}", price_cents=cents, **which)


def together(every: Sequence[Campaign], teller: Teller) -> list[Row]:
    """Return all closed campaigns: id, marks, assigned, profit, interval, p, and p adjusted."""
    closed = [one for one in every if one.state == "closed" and one.readout is not None]
    read = [one for one in closed if one.readout and one.readout["profit"]]
    judged = adjusted_p_values([_profit(one)["p_value"] for one in read])
    adjusted = {one.campaign_id: p for one, p in zip(read, judged, strict=True)}
    rows = []
    for one in closed:
        kept: dict[str, Any] = one.readout or {}
        marks = [teller.say("was_simulated")] if kept.get("simulated") else []
        marks += [teller.say("stopped")] if kept.get("stopped") else []
        told: Row = ("", "", "", "")
        if one.campaign_id in adjusted:
            profit = _profit(one)
            told = (
                teller.money(profit["difference"]),
                _between((profit["interval"][0], profit["interval"][1]), teller.money),
                f"{profit['p_value']:.3f}", f"{adjusted[one.campaign_id]:.3f}",
            )  # fmt: skip
        contacted = f"{kept['treated']['members']:,}" if kept.get("treated") else ""
        rows.append((one.campaign_id, ", ".join(marks), contacted, *told))
    return rows


def _profit(campaign: Campaign) -> dict[str, Any]:
    found: dict[str, Any] = (campaign.readout or {})["profit"]
    return found


def _between(pair: tuple[float, float], said: Callable[[float], str]) -> str:
    return f"{said(pair[0])} … {said(pair[1])}"


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
