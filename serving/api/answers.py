"""Scores in the words of the public contract: labelled, and money rounded.

An answer is made of plain dicts, in the shapes of `serving.api.schemas`: checking each against its
model would cost more than making it, and a test holds one to the other.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from programme import words
from training.explain import Explanation
from training.scores import RISK_BANDS, PopulationName, RiskBand, no_single_driver

PROBABILITY_DECIMALS = 6

Stored = Mapping[str, Any]
Answer = dict[str, Any]
_REASONS = ("base", "raw_score", "drivers")


class Speaker:
    """Turns scores into answers in one language and one currency."""

    def __init__(self, language: str, currency: str) -> None:
        self.language = language
        self.currency = currency
        self.caveat = words.label("caveat.attribution", language)

    def churn(
        self,
        probability: float,
        percentile: int,
        population: PopulationName,
        model: tuple[str, int, int],
        *,
        band: RiskBand | None = None,
        why: Explanation | None = None,
    ) -> Answer:
        """Return `schemas.Churn`.

        Parameters
        ----------
        model : its name, version and horizon in days
        band : None: as the probability says
        why : None leaves the reasons out
        """
        name, version, horizon_days = model
        said: Answer = {
            "churn_probability": round(probability, PROBABILITY_DECIMALS),
            "horizon_days": horizon_days,
            "percentile": percentile,
            "risk_band": band or RISK_BANDS.of(probability),
            "population": population,
            "eligible": population == "active",
        }
        if why is not None:
            said["base"] = why.base
            said["raw_score"] = why.raw_score
            said["drivers"] = [self._driver(vars(driver)) for driver in why.drivers]
            said["no_single_driver"] = no_single_driver(why.drivers)
        said["model_name"] = name
        said["model_version"] = version
        return said

    def value(self, stored: Stored, *, drivers: bool = True) -> Answer:
        """Return `schemas.Value` of the fields of `training.scores.ValueScore`."""
        said = dict(stored)
        value_cents, historic_cents = round(said["value_cents"]), round(said["historic_cents"])
        said["value_cents"] = value_cents
        said["low_cents"] = _rounded(said["low_cents"])
        said["high_cents"] = _rounded(said["high_cents"])
        said["historic_cents"] = historic_cents
        # Of the rounded parts, so that they add up in what is written.
        said["total_cents"] = historic_cents + value_cents
        said["margin_cents"] = _rounded(said["margin_cents"])
        said["error_cents"] = round(said["error_cents"])
        said["currency"] = self.currency
        if drivers:
            told = said["drivers"]
            said["drivers"] = [self._driver(driver) for driver in told]
            said["no_single_driver"] = not any(one["importance"] == "high" for one in told)
        else:
            for name in _REASONS:
                del said[name]
        return said

    def next_products(self, stored: Stored) -> Answer:
        """Return `schemas.Next` of the fields of `training.scores.NextProducts`."""
        return {
            "repeat": [self._product(product) for product in stored["repeat"]],
            "explore": [self._product(product) for product in stored["explore"]],
        }

    def next_order(self, stored: Stored | None, as_of: date) -> Answer | None:
        """Return `schemas.NextOrder` of the fields of `training.scores.NextOrderScore`."""
        if stored is None:
            return None
        return {
            **stored,
            "p_by": [
                {"days": days, "probability": round(probability, PROBABILITY_DECIMALS)}
                for days, probability in stored["p_by"]
            ],
            "due": [self._due(category, as_of) for category in stored["due"]],
        }

    def _due(self, due: Stored, as_of: date) -> Answer:
        overdue = due["overdue"]
        code = "reason.overdue" if overdue else "reason.due"
        return {
            "category": due["category"],
            "due_on": (as_of + timedelta(days=due["due_days"])).isoformat(),
            "overdue": overdue,
            "label": self._label(code, due["parameters"]),
            "parameters": due["parameters"],
        }

    def _driver(self, driver: Stored) -> Answer:
        code, parameters = driver["code"], driver["parameters"]
        return {
            "code": code,
            "label": self._label(f"driver.{code}", parameters),
            "value": driver["value"],
            "parameters": parameters,
            "contribution": driver["contribution"],
            "direction": driver["direction"],
            "importance": driver["importance"],
        }

    def _product(self, product: Stored) -> Answer:
        label = self._label(f"reason.{product['reason']}", product["parameters"])
        return {**product, "label": label}

    def _label(self, code: str, parameters: Stored) -> str:
        return words.label(code, self.language, **{**parameters, "currency": self.currency})


def _rounded(cents: float | None) -> int | None:
    return None if cents is None else round(cents)
