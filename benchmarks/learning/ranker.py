"""Fitting a linear ranker: the weights under which the best option of each problem scores highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harvester.parsers.rankers import Features

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Problem:
    """Options and what each is worth, from 0 to 1."""

    options: Sequence[Features]
    worth: Sequence[float]
    weight: float = 1.0


def fit(
    problems: Sequence[Problem],
    penalty: float,
    doubt: float,
    steps: int = 400,
    prior: Features | None = None,
) -> dict[str, float]:
    """Weights that maximise the logarithm of the expected worth when options are drawn by softmax.

    Listwise, as in Cao et al., "Learning to rank: from pairwise approach to listwise approach"
    (2007), with worth in place of the probability of the top one.  ``penalty`` holds the weights to
    ``prior``, or to zero: the maximum a posteriori under a normal prior.  A fixed number of steps from
    there: the same input gives the same weights.
    """
    problems = [problem for problem in problems if problem.options and problem.weight]
    names = sorted({name for p in problems for option in p.options for name in option})
    column = {name: number for number, name in enumerate(names)}
    sizes = [len(problem.options) for problem in problems]
    table = np.zeros((sum(sizes), len(names)))
    rows = (option for problem in problems for option in problem.options)
    for row, option in enumerate(rows):
        for name, value in option.items():
            table[row, column[name]] = value
    worth = np.concatenate([problem.worth for problem in problems])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    share = np.array([problem.weight for problem in problems])
    share = share / share.sum()
    expected_weights = np.array([(prior or {}).get(name, 0.0) for name in names])
    weights = expected_weights.copy()
    mean, square = (np.zeros(len(names)) for _ in range(2))
    for step in range(1, steps + 1):
        scores = table @ weights
        powers = np.exp(scores - np.maximum.reduceat(scores, starts)[owner])
        chance = powers / np.add.reduceat(powers, starts)[owner]
        expected = np.add.reduceat(chance * worth, starts)
        # The slope of -log(expected + doubt): with doubt, one odd page cannot pull all the weights.
        slope = chance * (expected[owner] - worth) / (expected[owner] + doubt) * share[owner]
        gradient = table.T @ slope + penalty * (weights - expected_weights)
        weights -= _stride(gradient, mean, square, step, 0.05)
    return {name: round(float(value), 3) for name, value in zip(names, weights, strict=True)}


def fit_chance(
    points: Sequence[Features],
    happened: Sequence[bool],
    penalty: float,
    steps: int = 3000,
    prior: Features | None = None,
) -> dict[str, float]:
    """Logistic regression: the weights of how likely something is."""
    names = sorted({name for point in points for name in point})
    table = np.array([[point.get(name, 0.0) for name in names] for point in points])
    target = np.array(happened, dtype=float)
    expected_weights = np.array([(prior or {}).get(name, 0.0) for name in names])
    weights = expected_weights.copy()
    mean, square = (np.zeros(len(names)) for _ in range(2))
    for step in range(1, steps + 1):
        chance = 1 / (1 + np.exp(-(table @ weights)))
        gradient = table.T @ (chance - target) / len(target)
        gradient += penalty * (weights - expected_weights)
        weights -= _stride(gradient, mean, square, step, 0.02)
    return {name: round(float(value), 3) for name, value in zip(names, weights, strict=True)}


def _stride(gradient: Array, mean: Array, square: Array, step: int, rate: float) -> Array:
    """One step of Adam (Kingma and Ba, 2015); the running averages are kept in place."""
    mean += 0.1 * (gradient - mean)
    square += 0.01 * (gradient**2 - square)
    stride: Array = rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return stride
