"""A made-up retail programme of which everything is known: rates, leaving, spend, effects.

Estimators are held against it (`tests/experiments`), scale is measured on it, and a data scientist
can ask it what no real data answer: what would have been, had she not been contacted.
"""

from experiments.synthetic.recipe import Recipe
from experiments.synthetic.world import World, grow

__all__ = ["Recipe", "World", "grow"]
