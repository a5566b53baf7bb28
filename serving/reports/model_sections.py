"""The sections of a model's page, in the words and pictures of one language."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from programme import words
from serving.reports import charts
from serving.reports.model_facts import Facts, bands, held_by_top, histogram, most_named
from training.champions import Champions
from training.scores import Driver, MemberScores

# Contact the first so many per cent: the rows that stand in print for the slider.
STEPS = (5, 10, 20, 30, 50)


class Teller:
    """Puts facts into words and pictures of one language."""

    def __init__(self, say: Callable[..., str], language: str, currency: str) -> None:
        self.say = say
        self.language = language
        self.currency = currency

    def section(self, facts: Facts, champions: Champions) -> dict[str, Any]:
        """Return everything the template needs of one target."""
        special = {
            "churn": self._churn,
            "value": self._value,
            "repeat": self._products,
            "explore": self._products,
        }[facts.target]
        return {
            "title": self.say(f"title_{facts.target}", horizon_days=_horizon(facts)),
            "summary": self._summary(facts),
            "about": self._about(facts),
            "rivals": self._rivals(facts),
            "drivers": self._drivers(facts),
            "samples": [self._sample(member, facts) for member in facts.samples],
            "drift": self._drift(facts),
            "stages": self._stages(facts),
            "effects": words.label("explain.measured_not", self.language),
            **special(facts, champions),
        }

    def _summary(self, facts: Facts) -> list[str]:
        board = facts.evidence.board
        skill = board["skill"]
        told = [
            self.say(
                f"grade_{board['grade']}",
                served=board["served"],
                rule=board["best_rule"],
                primary=board["primary"],
                skill_share=skill["mean"],
                low_share=skill["low"],
                high_share=skill["high"],
            )
        ]
        deciles = facts.evidence.deciles
        if facts.target == "churn" and deciles is not None:
            first = deciles.iloc[0]
            told.append(
                self.say(
                    "first_tenth",
                    captured_share=float(first["cumulative_share"]),
                    rate_share=float(first["actual_mean"]),
                    lift=f"{float(first['lift']):.1f}",
                )
            )
        return told

    def _about(self, facts: Facts) -> list[tuple[str, str]]:
        card, population = facts.evidence.card, facts.population
        active = float((population.population == "active").mean())
        details, data = card["details"], card["data"]
        return [
            (self.say("about_version"), f"{details['name']} / {details['version']}"),
            (self.say("about_trained"), details["trained_at"][:16].replace("T", " ")),
            (self.say("about_next"), self._next(facts)),
            (self.say("about_data"), data["learned_from"].replace("..", " … ")),
            (self.say("about_test"), ", ".join(data["test_as_ofs"])),
            (
                self.say("about_members"),
                self.say("members_active", members=len(population), active_share=active),
            ),
        ]

    def _next(self, facts: Facts) -> str:
        if facts.review.due:
            return self.say("due_now", why=" ".join(facts.review.due))
        return self.say("due_later", day=facts.next_training)

    def _rivals(self, facts: Facts) -> dict[str, Any]:
        board = facts.evidence.board
        first = board["populations"][0]
        return {
            "names": first["metrics"],
            "primary": board["primary"],
            "rows": [
                {
                    "name": entry["name"],
                    "role": self.say(f"role_{entry['role']}"),
                    "served": entry["name"] == board["served"],
                    "figures": [_figure(entry["metrics"].get(name)) for name in first["metrics"]],
                    "difference": _interval(entry["difference"]),
                }
                for entry in first["entries"]
            ],
            "count": self.say("rows_judged", rows=str(first["rows"])),
        }

    def _churn(self, facts: Facts, champions: Champions) -> dict[str, Any]:
        population, horizon = facts.population, _horizon(facts)
        counted = bands(population, champions)
        shown = histogram(population.churn_probability, upper=1.0)
        return {
            "bands": [
                {
                    "name": words.label(f"risk_band.{row.band}", self.language),
                    "members": f"{row.members:,}",
                    "share": f"{row.share:.1%}",
                    "expected": f"{row.expected:,.0f}",
                }
                for row in counted.itertuples()
            ],
            "histogram": charts.bars(
                [f"{begin:.0%}" if place % 4 == 0 else "" for place, begin in
                 enumerate(shown["begins"])],
                list(shown["members"]),
                title=self.say("histogram_churn", horizon_days=horizon),
            ),
            **self._deciles(facts, percent=True),
            **self._targeting(facts),
        }  # fmt: skip

    def _value(self, facts: Facts, champions: Champions) -> dict[str, Any]:  # noqa: ARG002
        values = facts.population.value_cents
        shown = histogram(values)
        digits = words.MINOR_DIGITS.get(self.currency, 2)
        total = self.say("value_total", total_cents=float(values.sum()), members=len(values))
        holds = [
            self.say("value_held", first_share=share, held_share=held)
            for share, held in held_by_top(values).items()
        ]
        return {
            "totals": [total, *holds],
            "histogram": charts.bars(
                [f"{begin / 10**digits:,.0f}" if place % 4 == 0 else "" for place, begin in
                 enumerate(shown["begins"])],
                list(shown["members"]),
                title=self.say("histogram_value", horizon_days=_horizon(facts)),
            ),
            **self._deciles(facts, percent=False),
        }  # fmt: skip

    def _deciles(self, facts: Facts, *, percent: bool) -> dict[str, Any]:
        table = facts.evidence.deciles
        if table is None:
            return {}
        unit = 1 if percent else 10 ** words.MINOR_DIGITS.get(self.currency, 2)

        def said(figure: float) -> str:
            return f"{figure:.1%}" if percent else words.money(figure, self.currency)

        return {
            "calibration": charts.bars(
                [str(number) for number in table["decile"]],
                list(table["actual_mean"] / unit),
                marks=list(table["predicted_mean"] / unit),
                title=self.say("calibration"),
                percent=percent,
            ),
            "deciles": [
                (
                    f"{row['decile']:.0f}", f"{row['members']:,.0f}",
                    said(row["predicted_mean"]), said(row["actual_mean"]),
                    f"{row['lift']:.2f}", f"{row['cumulative_share']:.1%}",
                )
                for row in table.to_dict(orient="records")
            ],
        }  # fmt: skip

    def _targeting(self, facts: Facts) -> dict[str, Any]:
        """Return the curve and, for each share of members written to, who of them would leave."""
        gains, board = facts.evidence.gains, facts.evidence.board
        if gains is None:
            return {}
        population = facts.population
        active = population.population == "active"
        members = int(active.sum())
        leaving = float(population.churn_probability[active].sum())
        served, rule = (gains[board[who]].to_list() for who in ("served", "best_rule"))
        rows = [_reached(percent, served, members, leaving) for percent in STEPS]
        return {
            "gains": charts.lines(
                {board["served"]: served, board["best_rule"]: rule}
                if board["served"] != board["best_rule"]
                else {board["served"]: served},
                title=self.say("gains"),
            ),
            "reach": rows,
            "slider": {"captured": served, "members": members, "leaving": leaving},
        }

    def _products(self, facts: Facts, champions: Champions) -> dict[str, Any]:  # noqa: ARG002
        lists = facts.population.repeat if facts.target == "repeat" else facts.population.explore
        assert lists is not None
        return {
            "totals": [
                self.say(
                    "products_named",
                    products=str(len(set(lists.product_id))),
                    members=len(facts.population),
                )
            ],
            "products": [
                (row.product, f"{row.share:.1%}")
                for row in most_named(facts.population, facts.target).itertuples()
            ],
        }

    def _drivers(self, facts: Facts) -> dict[str, Any] | None:
        shares = facts.drivers
        if shares is None or shares.empty:
            return None
        return {
            "columns": [
                self.say("everybody")
                if name == "all"
                else words.label(f"risk_band.{name}", self.language)
                for name in shares.columns
            ],
            "rows": [
                (words.label(f"driver.{code}", self.language), [f"{share:.0%}" for share in row])
                for code, row in zip(shares.index, shares.to_numpy(), strict=True)
            ],
        }

    def _sample(self, member: MemberScores, facts: Facts) -> dict[str, Any]:
        churn, value, lists = member.churn, member.value, member.next_products
        assert churn is not None
        assert value is not None
        assert lists is not None
        score = value if facts.target == "value" else churn
        named = lists.repeat if facts.target == "repeat" else lists.explore
        products = facts.target in ("repeat", "explore")
        return {
            "member": member.member_id,
            "risk": f"{churn.churn_probability:.0%}",
            "value": words.money(value.value_cents, self.currency),
            "reasons": [
                f"{product.product_id}: "
                + words.label(
                    f"reason.{product.reason}", self.language,
                    currency=self.currency, **product.parameters,
                )
                for product in named[:5]
            ]
            if products
            else [self._reason(d) for d in score.drivers if d.importance != "low"],
        }  # fmt: skip

    def _reason(self, driver: Driver) -> str:
        facts: Mapping[str, Any] = driver.parameters
        return words.label(f"driver.{driver.code}", self.language, currency=self.currency, **facts)

    def _drift(self, facts: Facts) -> list[tuple[str, str]]:
        figures = facts.review.figures
        return [
            (self.say(f"drift_{name}"), _figure(figures[name]).removesuffix(".0000"))
            for name in ("age_days", "psi_answers", "psi_columns", "figure_then", "figure_since")
            if name in figures
        ]

    def _stages(self, facts: Facts) -> dict[str, Any] | None:
        """Count the members of each stage with what is expected of them."""
        if facts.segments is None:
            return None
        population = facts.population
        frame = pd.DataFrame(
            {
                "stage": facts.segments["stage"].reindex(population.members).to_numpy(),
                "risk": population.churn_probability,
                "value": population.value_cents,
            }
        ).dropna(subset=["stage"])
        return {
            "rows": [
                (
                    words.label(f"stage.{stage}", self.language), f"{len(own):,}",
                    f"{own['risk'].mean():.1%}", words.money(own["value"].mean(), self.currency),
                )
                for stage, own in frame.groupby("stage", sort=True)
            ]
        }  # fmt: skip


def _reached(
    percent: int, captured: list[float], members: int, leaving: float
) -> tuple[str, str, str, str]:
    """Say for the first so many per cent: written to, leaving among them, and the others."""
    written = round(members * percent / 100)
    found = min(captured[percent - 1] * leaving, float(written))
    return f"{percent}%", f"{written:,}", f"{found:,.0f}", f"{written - found:,.0f}"


def _horizon(facts: Facts) -> int:
    return int(facts.evidence.board["horizon_days"])


def _figure(figure: float | None) -> str:
    return "" if figure is None else f"{figure:,.4f}"


def _interval(gain: Mapping[str, float | None] | None) -> str:
    if gain is None or gain["mean"] is None:
        return ""
    return f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
