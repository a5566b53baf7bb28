"""The desk of campaigns: what the command line and the service do with a home's offers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from actions import (
    audience,
    campaigns,
    counter,
    expectations,
    experience,
    guardrails,
    history,
    launching,
    planner,
    readout,
    reasons,
)
from actions.brief import Asked
from actions.campaigns import Campaign
from actions.candidates import Kind
from actions.cross_sell import Terms
from actions.dispatch import Delivered, Deliverer
from actions.errors import Nobody
from actions.offers import Catalogue, Offer, OfferKind
from actions.plan import Numbers
from actions.planner import Goods, Proposal
from actions.readout import ReadOut
from actions.routes import read as read_routes
from features import snapshot
from features.segments import segmentation
from features.tags import rules, store
from features.tags.scored import PREFIX
from loyalty.terms import Terms as PointsTerms
from programme.calendar import local_date
from programme.errors import NotReady
from programme.settings import Settings
from serving.batch import score_all
from serving.points import PointsDesk
from serving.webhooks import post

Tell = Callable[[str], None]
# Offers that name goods.
NAMING: tuple[Kind, ...] = ("cross_sell", "replenish")
# One number for all campaigns: the plan's sample is part of what can be repeated.
SEED = 20_240_101


@dataclass(frozen=True)
class Described:
    """One day's members as files, and the versions of what was said about them."""

    as_of: date
    files: audience.Files
    models: Mapping[str, str]


class ActionDesk:
    """One programme's campaigns."""

    def __init__(self, settings: Settings | None, points: PointsDesk) -> None:
        self._settings = settings
        self.points = points

    @property
    def settings(self) -> Settings:
        """Return the settings; read at first use where none were given."""
        if self._settings is None:
            self._settings = Settings.load()
        return self._settings

    @property
    def catalogue(self) -> Catalogue:
        """Return the catalogue that holds."""
        return campaigns.catalogue_of(self.points.database, self.points.programme)

    def adopt(self, catalogue: Catalogue, *, now: datetime) -> bool:
        """Adopt a catalogue whose tags are all declared; return whether it was new."""
        catalogue.check_tags(rules.read(self.settings.home).expand(None))
        return campaigns.adopt(self.points.database, catalogue, now=now)

    def describe(self, as_of: date | None, tell: Tell) -> Described:
        """Describe the members of one day: features, segments, tags and scores; made if absent."""
        day = as_of or snapshot.default_as_of(self.settings)
        taken = snapshot.build(self.settings, day, tell)
        segments = segmentation.build(self.settings, day, tell).members_file
        tags = store.build(self.settings, day, tell, segments=segments)
        scores = _scores(self.settings, taken.path.name)
        if scores is None:
            scores = score_all(self.settings, day, None, tell).path
        beside = scores.with_name(PREFIX + scores.name)
        files = audience.Files(
            taken.path / snapshot.FEATURES, segments, scores,
            (tags.path / store.HELD, *((beside,) if beside.exists() else ())),
        )  # fmt: skip
        models = {"features": taken.feature_set, "snapshot": taken.path.name,
                  "scores": scores.stem}  # fmt: skip
        return Described(day, files, models)

    def propose(
        self,
        asked: Asked,
        *,
        as_of: date | None,
        now: datetime,
        tell: Tell,
        described: Described | None = None,
    ) -> tuple[Campaign, Proposal]:
        """Work out a campaign and keep the proposal.

        Parameters
        ----------
        described : the members, where they were described before; `as_of` is not asked then
        """
        asked.brief.chosen(self.catalogue)  # refused before anybody is described
        described = described or self.describe(as_of, tell)
        made, facts = self.work_out(asked, described, now=now, tell=tell)
        campaign = campaigns.propose(
            self.points.database, self.settings.home, asked, made.catalogue, made.decisions(),
            facts, as_of=described.as_of, now=now,
        )  # fmt: skip
        return campaign, made

    def work_out(
        self,
        asked: Asked,
        described: Described,
        *,
        now: datetime,
        tell: Tell,
        only: "np.ndarray[tuple[int], np.dtype[np.str_]] | None" = None,
    ) -> tuple[Proposal, dict[str, Any]]:
        """Work out what a campaign would do, and what its plan says; nothing is kept.

        Parameters
        ----------
        only : the members it is about; None: everybody
        """
        catalogue, database = self.catalogue, self.points.database
        offers = asked.brief.chosen(catalogue)
        if any(offer.points for offer in offers) and self._terms(now) is None:
            raise NotReady(
                "An offer gives points, and no rules of points hold. Nothing was proposed. Adopt "
                "some first: perennial points rules my-rules.toml"
            )
        tell("asking who fits which offer")
        everybody = audience.read(self.settings, described.as_of, described.files, offers)
        rows = planner.open_to(asked.brief, everybody.members)
        if only is not None:
            rows = rows[np.isin(everybody.members[rows], only)]
        if not len(rows):
            raise Nobody(
                f"Campaign {asked.brief.campaign} is open to none of "
                f"{len(everybody.members):,} members. Nothing was proposed. Widen its coverage "
                "or its namespace."
            )
        everybody = self._with_reasons(everybody, described, offers, tell)
        everybody, goods, worth = self._with_goods(everybody, described, catalogue, offers, tell)
        tell("asking the gates")
        past = history.read(self.settings, self.points.programme, database, now=now)
        codes = guardrails.refusals(
            everybody.members[rows], everybody.fits[rows], offers, catalogue.file.guards, past,
            local_date(now, self.points.programme.timezone),
        )  # fmt: skip
        tell("planning")
        learned = experience.lessons(
            self.settings, self.points.programme, database, catalogue, offers, now=now, seed=SEED
        )
        expected = expectations.work_out(
            catalogue, offers, everybody, rows, expectations.gained_by_naming(worth[rows]), learned
        )
        made = planner.propose(
            asked.brief, catalogue, everybody, rows, codes, expected, seed=SEED,
            taken=history.given(database), goods=goods,
        )  # fmt: skip
        facts = made.facts(
            models=dict(described.models), **_spread(everybody, catalogue, np.asarray(rows))
        )
        return made, facts

    def _with_reasons(
        self,
        everybody: audience.Audience,
        described: Described,
        offers: Sequence[Offer],
        tell: Tell,
    ) -> audience.Audience:
        """Let an offer that answers a reason fit only those of whom it is inferred."""
        if not any(offer.reason for offer in offers):
            return everybody
        tell("inferring why members seem to be leaving")
        days, drivers = reasons.read(
            self.settings, described.as_of, scores=described.files.scores,
            tags=described.files.tags[0].parent,
        )  # fmt: skip
        # Both are in the order of member_id; a pandas index says so whatever wrote the files.
        order = days[0].features.index.get_indexer(pd.Index(everybody.members))
        asked_of = np.zeros(len(days[0].features), dtype=bool)
        by_reason = everybody.fits[:, [offer.reason is not None for offer in offers]]
        asked_of[order] = np.any(by_reason, axis=1)
        found = reasons.infer(days, asked_of, drivers)
        answered = reasons.answers([found[place] for place in order.tolist()], offers)
        return replace(everybody, fits=everybody.fits & answered)

    def _with_goods(
        self,
        everybody: audience.Audience,
        described: Described,
        catalogue: Catalogue,
        offers: Sequence[Offer],
        tell: Tell,
    ) -> tuple[audience.Audience, Goods, Numbers]:
        """Choose what offers name to each member; an offer fits nobody it has nothing to name to.

        Returns
        -------
        the audience; the products by kind of offer; what they are worth, (members, offers)
        """
        goods: dict[OfferKind, dict[str, tuple[str, ...]]] = {}
        worth, fits = np.zeros(everybody.fits.shape), everybody.fits.copy()
        for kind in NAMING:
            its = np.array([offer.kind == kind for offer in offers])
            if not its.any():
                continue
            tell(f"choosing what to name: {kind}")
            shown = counter.named(
                self.settings, described.as_of, kind, described.files.scores,
                terms=Terms(margin_rate=catalogue.file.margin_rate),
                earlier=counter.earlier_scores(self.settings, described.as_of),
            )  # fmt: skip
            named = shown.rows.groupby("member_id", sort=True)["product_id"].agg(tuple)
            goods[kind] = {str(member): products for member, products in named.items()}
            each = shown.worth_cents().reindex(pd.Index(everybody.members)).fillna(0.0)
            worth[:, its] = each.to_numpy(float)[:, None]
            fits[:, its] &= np.isin(everybody.members, list(goods[kind]))[:, None]
        return replace(everybody, fits=fits), goods, worth

    def launch(self, campaign_id: str, *, now: datetime) -> Campaign:
        """Launch an approved campaign."""
        return launching.launch(
            self.points.database, self.points.programme, self.settings.home, campaign_id, now=now
        )

    def deliver(self, *, now: Callable[[], datetime], tell: Tell) -> Delivered:
        """Deliver all messages that are due."""
        known: dict[str, Catalogue] = {}
        database, programme = self.points.database, self.points.programme

        def catalogue_of(campaign_id: str) -> Catalogue:
            if campaign_id not in known:
                version = campaigns.get(database, campaign_id).catalogue
                known[campaign_id] = campaigns.catalogue_of(database, programme, version)
            return known[campaign_id]

        deliverer = Deliverer(
            database, programme, self.settings.home, read_routes(self.settings.home),
            catalogue_of,
            lambda: history.read(self.settings, programme, database, now=now()),
            self._terms(now()), post,
        )  # fmt: skip
        return deliverer.run(now=now, tell=tell)

    def read_out(self, campaign_id: str, *, now: datetime) -> ReadOut:
        """Read out a launched campaign; of a closed one, what was read at the close."""
        database, programme = self.points.database, self.points.programme
        campaign = campaigns.get(database, campaign_id)
        if campaign.readout is not None:
            return ReadOut.from_json(campaign.readout)
        catalogue = campaigns.catalogue_of(database, programme, campaign.catalogue)
        return readout.read_out(self.settings, programme, database, campaign, catalogue, now=now)

    def close(self, campaign_id: str, *, now: datetime) -> tuple[Campaign, ReadOut]:
        """Read a campaign out for the last time, and close it."""
        found = self.read_out(campaign_id, now=now)
        return campaigns.close(self.points.database, campaign_id, found.as_json(), now=now), found

    def _terms(self, now: datetime) -> PointsTerms | None:
        try:
            return self.points.rules.terms(now)
        except NotReady:
            return None


def _scores(settings: Settings, snapshot_name: str) -> Path | None:
    """Return the newest scores of a snapshot, if there are any."""
    found = sorted(
        (settings.home / "scores").glob(f"{snapshot_name}_*.parquet"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    return found[-1] if found else None


def _spread(
    everybody: audience.Audience,
    catalogue: Catalogue,
    rows: "np.ndarray[tuple[int], np.dtype[np.intp]]",
) -> dict[str, float]:
    """Return how members differ in four weeks' margin, and how much earlier weeks tell of it."""
    facts = everybody.facts.iloc[rows]
    recent = facts["spend_cents_28d"].fillna(0).to_numpy(float)
    before = facts["spend_cents_84d"].fillna(0).to_numpy(float) - recent
    told = float(np.corrcoef(recent, before)[0, 1]) if recent.std() and before.std() else 0.0
    return {"spread_cents": float(recent.std()) * catalogue.file.margin_rate, "before": told**2}
