"""Scores in the words of the public contract: labelled, and money rounded."""

from datetime import date, timedelta
from typing import Any

from programme import words
from serving.api import schemas
from training.scores import (
    ChurnScore,
    Driver,
    DueCategory,
    MemberScores,
    NextOrderScore,
    ProductScore,
    ValueScore,
    no_single_driver,
)

PROBABILITY_DECIMALS = 6


class Speaker:
    """Turns scores into answers in one language and one currency."""

    def __init__(self, language: str, currency: str) -> None:
        self.language = language
        self.currency = currency

    def answer(self, scores: list[MemberScores]) -> schemas.ScoresAnswer:
        """Put members' scores into the contract, in the same order."""
        return schemas.ScoresAnswer(
            scores=[self._member(member) for member in scores],
            caveat=words.label("caveat.attribution", self.language),
        )

    def _member(self, member: MemberScores) -> schemas.KnownMember | schemas.UnknownMember:
        if (
            member.as_of is None
            or member.data_as_of is None
            or member.churn is None
            or member.value is None
            or member.next_products is None
        ):
            return schemas.UnknownMember(member_id=member.member_id, known=False)
        return schemas.KnownMember(
            member_id=member.member_id,
            known=True,
            as_of=member.as_of,
            data_as_of=member.data_as_of,
            churn=self._churn(member.churn),
            value=self._value(member.value),
            next_products=schemas.Next(
                repeat=[self._product(product) for product in member.next_products.repeat],
                explore=[self._product(product) for product in member.next_products.explore],
            ),
            next_order=self._next_order(member.next_order, member.as_of),
        )

    def _churn(self, score: ChurnScore) -> schemas.Churn:
        rounded = round(score.churn_probability, PROBABILITY_DECIMALS)
        return schemas.Churn(
            **{**_fields(score), "churn_probability": rounded, **self._reasons(score)}
        )

    def _value(self, score: ValueScore) -> schemas.Value:
        money = {
            "value_cents": round(score.value_cents),
            "low_cents": _rounded(score.low_cents),
            "high_cents": _rounded(score.high_cents),
            "historic_cents": round(score.historic_cents),
            # Of the rounded parts, so that they add up in what is written.
            "total_cents": round(score.historic_cents) + round(score.value_cents),
            "margin_cents": _rounded(score.margin_cents),
            "error_cents": round(score.error_cents),
            "currency": self.currency,
        }
        return schemas.Value(**{**_fields(score), **money, **self._reasons(score)})

    def _next_order(self, score: NextOrderScore | None, as_of: date) -> schemas.NextOrder | None:
        if score is None:
            return None
        chances = [
            schemas.PurchaseBy(days=days, probability=round(probability, PROBABILITY_DECIMALS))
            for days, probability in score.p_by
        ]
        due = [self._due(category, as_of) for category in score.due]
        return schemas.NextOrder(**{**_fields(score), "p_by": chances, "due": due})

    def _due(self, due: DueCategory, as_of: date) -> schemas.Due:
        return schemas.Due(
            category=due.category,
            due_on=as_of + timedelta(days=due.due_days),
            overdue=due.overdue,
            label=self._label("reason.overdue" if due.overdue else "reason.due", due),
            parameters=dict(due.parameters),
        )

    def _reasons(self, score: ChurnScore | ValueScore) -> dict[str, Any]:
        drivers = [
            schemas.Driver(**_fields(driver), label=self._label(f"driver.{driver.code}", driver))
            for driver in score.drivers
        ]
        return {"drivers": drivers, "no_single_driver": no_single_driver(score.drivers)}

    def _product(self, product: ProductScore) -> schemas.Product:
        label = self._label(f"reason.{product.reason}", product)
        return schemas.Product(**_fields(product), label=label)

    def _label(self, code: str, said: Driver | ProductScore | DueCategory) -> str:
        facts = {**said.parameters, "currency": self.currency}
        return words.label(code, self.language, **facts)


def _rounded(cents: float | None) -> int | None:
    return None if cents is None else round(cents)


def _fields(
    score: ChurnScore | ValueScore | Driver | ProductScore | NextOrderScore,
) -> dict[str, Any]:
    return dict(vars(score))
