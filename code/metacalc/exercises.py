"""Checks a reader's answer and says what is wrong with it, without giving the right one away."""

from typing import NamedTuple

import numpy as np
import sympy as sp

__all__ = ["Exercise", "Verdict", "check"]


class Exercise(NamedTuple):
    """What the checker knows of an exercise.

    Attributes
    ----------
    answer : sympy expression, number, tuple of these, or callable
        The right answer; or a function from an answer to what is wrong with it, "" if nothing is.
    tolerance : float
        Largest relative error of a numerical answer; 0 wants it exactly.
    mistakes : tuple of (answer, reason)
        Wrong answers that readers arrive at, with what each of them overlooked.
    """

    answer: object
    tolerance: float = 0.0
    mistakes: tuple = ()


class Verdict(NamedTuple):
    """Whether an answer is right, and why not."""

    right: bool
    reason: str

    def __repr__(self):
        return "✓ Right." if self.right else f"✗ {self.reason}"

    def __bool__(self):
        return self.right


def check(name, answer=...):
    """Verdict on an answer to the exercise of that name.

    Parameters
    ----------
    name : str
        The exercise's label, as it stands in the chapter.
    answer : sympy expression, number, tuple of these, or what the exercise asks for
        Symbols count by their names, whatever their assumptions. The default, `...`, asks for an answer.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If there is no exercise of that name.

    Examples
    --------
    >>> check("bg-ex-derivative")
    ✗ Put your answer in place of the dots.
    >>> check("bg-ex-derivative", "x**2")
    ✗ Your answer has the symbol x, which the exercise does not have.
    """
    from metacalc.answers import EXERCISES  # the answers use this module

    if name not in EXERCISES:
        raise ValueError(f"name must be one of {sorted(EXERCISES)}, got {name!r}")
    if answer is ...:
        return Verdict(False, "Put your answer in place of the dots.")
    exercise = EXERCISES[name]
    if callable(exercise.answer):
        try:
            reason = exercise.answer(answer)
        except (TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
            reason = f"Your answer could not be used as the exercise asks: {error}"
        return Verdict(not reason, reason)
    for mistake, reason in exercise.mistakes:
        if not _difference(mistake, answer, 1e-9):
            return Verdict(False, reason)
    reason = _difference(exercise.answer, answer, exercise.tolerance)
    return Verdict(not reason, reason)


def _difference(expected, answer, tolerance):
    """What is wrong with `answer`, or the empty string."""
    if isinstance(expected, tuple):
        if not isinstance(answer, (tuple, list, np.ndarray, sp.MatrixBase, sp.Tuple)) or len(answer) != len(expected):
            return f"The exercise asks for {len(expected)} answers; give them as a tuple."
        for i, (e, a) in enumerate(zip(expected, answer), start=1):
            reason = _difference(e, a, tolerance)
            if reason:
                return f"Entry {i}: {reason}"
        return ""
    expected = sp.sympify(expected)
    known = {s.name: s for s in expected.free_symbols}
    try:
        answer = sp.sympify(answer, locals=known)
        if not isinstance(answer, sp.Expr) or isinstance(answer, (sp.MatrixBase, sp.Lambda)):
            return "The exercise asks for one number or formula here."
        answer = answer.removeO().subs({s: known[s.name] for s in answer.free_symbols if s.name in known})
    except (sp.SympifyError, AttributeError, TypeError, SyntaxError):
        return "This is no number or formula."
    if answer.has(sp.nan, sp.zoo):
        return "This is no number or formula."
    unknown = sorted(s.name for s in answer.free_symbols - expected.free_symbols)
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        return f"Your answer has the symbol{plural} {', '.join(unknown)}, which the exercise does not have."
    if tolerance and expected.is_number:
        error = abs(sp.N(answer - expected)) / abs(sp.N(expected))
        return "" if error <= tolerance else f"The number is off by more than the tolerance of {tolerance:.2g} (relative)."
    if _is_zero(answer - expected):
        return ""
    if expected.is_number and answer.has(sp.Float):
        error = abs(sp.N(answer - expected)) / max(abs(sp.N(expected)), 1e-12)
        if error < 0.01:
            return "" if error < 1e-9 else "Close, but the exercise asks for the exact number."
    if _is_zero(answer + expected):
        return "The sign is wrong."
    missing = sorted(s.name for s in expected.free_symbols - answer.free_symbols)
    if missing:
        return f"Your answer does not depend on {', '.join(missing)}. Should it?"
    ratio = sp.simplify(answer / expected) if expected != 0 else sp.nan
    if expected.free_symbols and ratio.is_number and ratio.is_finite:
        return "Right up to a constant factor."
    return "This is not equal to the right answer."


def _is_zero(expr):
    """Whether an expression vanishes, by simplification or, where that gives up, at a few points."""
    if sp.simplify(expr) == 0:
        return True
    symbols = sorted(expr.free_symbols, key=str)
    rng = np.random.default_rng(0)
    points = [dict(zip(symbols, map(sp.Float, rng.uniform(0.3, 1.7, len(symbols))))) for _ in range(4)]
    return bool(symbols) and all(abs(sp.N(expr.subs(p), 30)) < 1e-12 for p in points)
