"""The calculus of learning to learn: SymPy derives, NumPy runs, a slider moves the actors."""

from metacalc.calculus import Objective, finite_difference, step
from metacalc.descent import (
    Rule, adam, backtracking, convergence_factor, diverged, gradient_descent, momentum, nesterov, newton, sgd,
)
from metacalc.stage import Arrow, Curve, Path, Point, Readout, Slider, Stage

__all__ = [
    "Arrow", "Curve", "Objective", "Path", "Point", "Readout", "Rule", "Slider", "Stage", "adam", "backtracking",
    "convergence_factor", "diverged", "finite_difference", "gradient_descent", "momentum", "nesterov", "newton", "sgd",
    "step",
]
