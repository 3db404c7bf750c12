"""Linear rankers: readable features, weighed by a table that was fitted on real pages.

The tables lie in ``weights.toml``, made by ``benchmarks/learning/train.py``.  Among options the one
with the highest sum wins; "none of them" is an option too where it makes sense, and scores 0.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from math import exp

Features = dict[str, float]
Weights = Mapping[str, float]


@cache
def weights() -> dict[str, dict[str, float]]:
    """The tables of weights, by ranker."""
    text = files("harvester.parsers").joinpath("weights.toml").read_text("utf-8")
    return tomllib.loads(text)


def score(features: Features, weights: Weights) -> float:
    """The weighted sum of what a ranker knows."""
    return sum(weights.get(name, 0.0) * value for name, value in features.items())


def chance(features: Features, weights: Weights) -> float:
    """How likely something is, by logistic regression."""
    return 1 / (1 + exp(-max(min(score(features, weights), 30), -30)))
