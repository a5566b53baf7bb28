"""The parameters of a world, all of them stated: what estimators must find again."""

from dataclasses import dataclass
from datetime import date

from programme.errors import InputRefused
from training.models.bgnbd import BgNbd
from training.models.gamma_gamma import GammaGamma
from training.models.pareto_nbd import ParetoNbd

DAYS_LEAST = 28
MEMBERS_MOST = 10_000_000
# Half an order a week and 30 euros each; whoever leaves at any moment does so after half a year.
PARETO_NBD = ParetoNbd(r=1.2, alpha=2.4, s=1.1, beta=30.0)
BG_NBD = BgNbd(r=1.2, alpha=2.4, a=0.8, b=9.0)
GAMMA_GAMMA = GammaGamma(p=6.0, q=4.0, v=1_500.0)


@dataclass(frozen=True)
class Recipe:
    """What a world is made of.

    Parameters
    ----------
    members, days : how many join, and how long the programme is watched
    seed : of everything drawn; the same recipe gives the same world
    first_day : the programme's first day
    joining_days : members join evenly over so many first days; 1 makes a single cohort
    counting : weekly rates of buying and the way members leave; its class is the process
    spend : cents of an order; a member's own mean, and the scatter around it
    weekdays : how busy each day is, Monday first; on average 1, so whole weeks do not notice
    campaigns : mailings, evenly spread over the days in which members are known
    campaign_days : whole weeks in which a mailing works, from its first midnight
    propensities : chance to be contacted of members who bought in the last 28 days, and of others
    response : how much the rate of a contacted member changes, at no liking for deals and at full
    free_lines : lines of an order on top of one, on average
    return_share : lines that are brought back within ten days
    """

    members: int = 2_500
    days: int = 365
    seed: int = 1
    first_day: date = date(2024, 1, 1)
    joining_days: int = 180
    counting: BgNbd | ParetoNbd = PARETO_NBD
    spend: GammaGamma = GAMMA_GAMMA
    weekdays: tuple[float, ...] = (0.8, 0.8, 0.8, 0.9, 1.2, 1.6, 0.9)
    campaigns: int = 3
    campaign_days: int = 14
    propensities: tuple[float, float] = (0.5, 0.5)
    response: tuple[float, float] = (-0.35, 2.0)
    free_lines: float = 1.2
    return_share: float = 0.02

    def __post_init__(self) -> None:
        """Refuse a world that cannot be."""
        wrong = [text for text, bad in self._faults().items() if bad]
        if wrong:
            raise InputRefused(
                f"There is no such world: {'; '.join(wrong)}. Nothing was made. Change the recipe."
            )

    def _faults(self) -> dict[str, bool]:
        shares = (*self.propensities, self.return_share)
        return {
            f"{self.members} members are not 1 to {MEMBERS_MOST:,}": not (
                1 <= self.members <= MEMBERS_MOST
            ),
            f"{self.days} days are fewer than {DAYS_LEAST}": self.days < DAYS_LEAST,
            f"members join over {self.joining_days} of {self.days} days": not (
                1 <= self.joining_days <= self.days
            ),
            f"the seed {self.seed} is negative": self.seed < 0,
            f"weekdays {self.weekdays} are not seven positive numbers of mean 1": (
                len(self.weekdays) != 7
                or min(self.weekdays) <= 0
                or abs(sum(self.weekdays) - 7) > 1e-9
            ),
            f"{self.campaigns} campaigns": self.campaigns < 0,
            f"{self.campaign_days} campaign days are not whole weeks": (
                self.campaign_days < 7 or self.campaign_days % 7 > 0
            ),
            f"{self.campaigns} campaigns of {self.campaign_days} days do not fit": (
                len(self.campaign_starts) < self.campaigns
            ),
            f"shares {shares} are not between 0 and 1": not all(0 <= s <= 1 for s in shares),
            f"the response {self.response} takes more than all orders away": self.response[0] < -1,
            f"{self.free_lines} lines": self.free_lines < 0,
        }

    @property
    def campaign_starts(self) -> tuple[int, ...]:
        """Return the first day of each campaign, none overlapping, counted from the first day."""
        first = min(56, self.days // 3)
        room = self.days - self.campaign_days - first
        if self.campaigns < 1 or room < 0 or self.campaign_days < 1:
            return ()
        step = max(self.campaign_days, room // max(1, self.campaigns - 1))
        starts = range(first, first + room + 1, step)
        return tuple(starts)[: self.campaigns]
