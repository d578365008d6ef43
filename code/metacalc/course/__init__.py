"""The course's own wing: what belongs to its chapters. It imports from the library; the library knows nothing of it."""

from metacalc.course.answers import EXERCISES
from metacalc.exercises import Checker

__all__ = ["check"]

check = Checker(EXERCISES)
