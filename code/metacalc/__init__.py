"""The calculus of learning to learn: SymPy derives, NumPy runs, a slider moves the actors."""

from metacalc.calculus import Objective, finite_difference, step
from metacalc.descent import (
    Rule, adam, backtracking, diverged, gradient_descent, momentum, nesterov, newton, sgd,
)

__all__ = [
    "Objective", "Rule", "adam", "backtracking", "diverged", "finite_difference", "gradient_descent", "momentum",
    "nesterov", "newton", "sgd", "step",
]
