"""Checks a reader's answer and says what is wrong with it, without giving the right one away."""

import re
import signal
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from metacalc.assignments import Answer, now, save_answers, text_of
from metacalc.formulas import named, parsed, sympified
from metacalc.words import listed, t

__all__ = ["Checker", "Exercise", "Verdict", "entries", "formula", "number"]

SECONDS = 20  # for one answer


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
    program : bool
        Whether the answer is something to program, which no line of text can hold.
    """

    answer: Any
    tolerance: float = 0.0
    mistakes: tuple[tuple[Any, str], ...] = ()
    program: bool = False


class Verdict(NamedTuple):
    """Whether an answer is right, and why not.

    Attributes
    ----------
    right : bool
        Whether the answer is right.
    reason : str
        What is wrong with it; "" if nothing is.
    """

    right: bool
    reason: str

    def __repr__(self) -> str:
        return f"✓ {t('Right.')}" if self.right else f"✗ {self.reason}"

    def __bool__(self) -> bool:
        return self.right


class Checker:
    """Checks answers to the exercises of a course, and remembers them.

    Parameters
    ----------
    exercises : dict of str: Exercise
        Each exercise's name, and what is known of it.

    Attributes
    ----------
    answers : dict of str: Answer
        The last answer to each exercise, or the last right one, in the order in which they were given.

    Raises
    ------
    ValueError
        If `exercises` is no such dictionary.

    Examples
    --------
    >>> x = sp.Symbol("x")
    >>> check = Checker({"slope": Exercise(2 * x, mistakes=((x, "That is the rule without its factor."),))})
    >>> check("slope")
    ✗ Put your answer in place of the dots.
    >>> check("slope", "x")
    ✗ That is the rule without its factor.
    >>> check("slope", "2*x")
    ✓ Right.
    """

    def __init__(self, exercises: dict[str, Exercise]) -> None:
        if not isinstance(exercises, dict) or not all(isinstance(one, Exercise) for one in exercises.values()):
            raise ValueError("exercises must be a dictionary of names and Exercise")
        self.exercises = exercises
        self.answers: dict[str, Answer] = {}

    def __call__(self, name: str, answer: Any = ...) -> Verdict:
        """Verdict on an answer to the exercise of that name.

        Parameters
        ----------
        name : str
            The exercise's label, as it stands in the text.
        answer : sympy expression, number, tuple of these, or what the exercise asks for
            Symbols count by their names, whatever their assumptions. The default, `...`, asks for an answer.

        Returns
        -------
        Verdict

        Raises
        ------
        ValueError
            If there is no exercise of that name.
        """
        verdict = self.verdict(name, answer)
        if answer is not ... and (verdict.right or not (name in self.answers and self.answers[name].right)):
            self.answers.pop(name, None)
            self.answers[name] = Answer(name, text_of(answer), verdict.right, now())
        return verdict

    def save(self, path: str | Path, student: str) -> Path:
        """Save the answers that were given, to those that the file holds already: for a teacher, who collects these files.

        Parameters
        ----------
        path : str or Path
            "answers.json", for example.
        student : str
            The name that the teacher knows.

        Returns
        -------
        Path
            Of the file.

        Raises
        ------
        ValueError
            If `student` is no name, or `path` holds something else, or the answers of another student.
        """
        return save_answers(path, student, self.answers.values())

    def verdict(self, name: str, answer: Any = ...) -> Verdict:
        """As calling it, but the answer is not remembered."""
        if name not in self.exercises:
            raise ValueError(f"name must be one of {sorted(self.exercises)}, got {name!r}")
        if answer is ...:
            return Verdict(False, t("Put your answer in place of the dots."))
        if isinstance(answer, str):  # "K = 7"
            answer = re.sub(r"^\s*[^\W\d]\w*\s*=(?!=)", "", answer)
        try:
            with _time_limit():
                reason = _reason(self.exercises[name], answer)
        except _TooLong:
            reason = t("Your answer takes too long to work out. Is there a simpler form?")
        except Exception as error:  # the reader's own functions and objects may raise anything
            said = str(error).strip().splitlines() or [type(error).__name__]
            reason = t("Your answer could not be used as the exercise asks: {said}", said=t(said[0]))
        return Verdict(not reason, t(reason))


def entries(answer: Any, n: int, asked: str) -> tuple[Any, ...]:
    """The n entries of an answer; ValueError that says what was asked for if it has not as many.

    Parameters
    ----------
    answer : sequence
        What a reader answered.
    n : int
        How many entries it should have.
    asked : str
        What was asked for, in words.

    Returns
    -------
    tuple
        The entries.
    """
    found = _as_tuple(answer)
    if found is None or len(found) != n:
        raise ValueError(t("it asks for {asked}.", asked=t(asked)))
    return found


def formula(value: Any, symbols: Iterable[sp.Symbol]) -> sp.Expr:
    """A formula in text, or a SymPy expression, in these very symbols, which count by their names; else ValueError.

    Parameters
    ----------
    value : str, number or sympy.Expr
        What a reader answered.
    symbols : iterable of sympy.Symbol
        What the names in it stand for.

    Returns
    -------
    sympy.Expr
        The formula in these symbols.

    Examples
    --------
    >>> x = sp.Symbol("x", real=True)
    >>> formula("x^2 + 1", [x]) == formula(sp.Symbol("x") ** 2 + 1, [x])
    True
    """
    if isinstance(value, str):
        result = parsed(value, symbols)
    else:
        result = sympified(value)
    if isinstance(result, tuple) or not isinstance(result, sp.Expr) or isinstance(result, sp.MatrixBase | sp.Lambda):
        raise ValueError(t("{value} is no formula.", value=value))
    names = named(symbols)
    return result.subs({s: names[s.name] for s in result.free_symbols if s.name in names})


def number(value: Any) -> float:
    """A number, or a string or SymPy expression that is one, as a float; ValueError for anything else, NaN included.

    Parameters
    ----------
    value : str, number or sympy.Expr
        What a reader answered.

    Returns
    -------
    float
        The number.
    """
    if isinstance(value, str):
        value = parsed(value)
    try:
        result = np.nan if np.iscomplexobj(value) else float(value)
    except (TypeError, ValueError, ArithmeticError):
        result = np.nan
    if not np.isfinite(result):
        raise ValueError(t("{value} is no finite number.", value=value))
    return result


class _TooLong(BaseException):
    """Not an Exception, so that no handler on the way takes it for an error of its own."""


@contextmanager
def _time_limit():
    """Raise `_TooLong` after `SECONDS`, where there are alarms: in the main thread, and not on Windows."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_):
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reason(exercise: Exercise, answer: Any) -> Any:
    """What is wrong with an answer, or the empty string."""
    if callable(exercise.answer):
        return exercise.answer(answer)
    for mistake, reason in exercise.mistakes:
        if not _difference(mistake, answer, 1e-9):
            return reason
    return _difference(exercise.answer, answer, exercise.tolerance)


def _as_tuple(answer: Any, symbols: Iterable[sp.Symbol] = ()) -> tuple[Any, ...] | None:
    """The entries of a tuple, list, vector or matrix, row by row, in text too; None if it is nothing of the kind."""
    if isinstance(answer, str):
        if "," not in answer:
            return None
        try:
            answer = parsed(answer, symbols)
        except ValueError:
            return None
    if isinstance(answer, (sp.MatrixBase, sp.NDimArray)):
        return tuple(sp.flatten(answer.tolist()))
    if isinstance(answer, np.ndarray):
        return tuple(answer.ravel()) if answer.ndim else None
    if not isinstance(answer, (tuple, list, sp.Tuple)):
        return None
    rows = answer and all(isinstance(row, (tuple, list, sp.Tuple)) for row in answer)
    return tuple(entry for row in answer for entry in row) if rows else tuple(answer)


def _difference(expected: Any, answer: Any, tolerance: float) -> str:
    """What is wrong with `answer`, or the empty string."""
    if isinstance(expected, tuple):
        return _difference_of_entries(expected, answer, tolerance)
    expected = sp.sympify(expected)
    known, given_array = named(expected.free_symbols), isinstance(answer, np.ndarray)
    try:
        answer = parsed(answer, expected.free_symbols) if isinstance(answer, str) else sympified(answer)
        if not isinstance(answer, sp.Expr) or isinstance(answer, (sp.MatrixBase, sp.Lambda)) or given_array:
            return t("The exercise asks for one number or formula here.")
        answer = answer.removeO().doit().subs({s: known[s.name] for s in answer.free_symbols if s.name in known})
    except ValueError as error:
        none = t("This is no number or formula.")
        return t("This is no number or formula: {error}.", error=error) if isinstance(answer, str) else none
    except (AttributeError, TypeError, SyntaxError):
        return t("This is no number or formula.")
    if answer.has(sp.nan, sp.zoo):
        return t("This is no number or formula.")
    functions = sorted({f.func.__name__ for f in answer.atoms(AppliedUndef)})
    if functions:
        return t("Your answer has the function {name}, which SymPy does not know.", name=functions[0])
    unknown = sorted(s.name for s in answer.free_symbols - expected.free_symbols)
    if unknown:
        return t("Your answer has the symbol {names}, which the exercise does not have." if len(unknown) == 1 else
                 "Your answer has the symbols {names}, which the exercise does not have.", names=listed(unknown))
    if any(abs(n) > 10**50 for n in answer.atoms(sp.Rational)):
        return t("Your answer has a number that is too large to be right.")
    if tolerance and expected.is_number:
        error = abs(sp.N(answer - expected)) / (abs(sp.N(expected)) or 1)
        return "" if error <= tolerance else t("The number is off by more than the tolerance of {tolerance:.2g} (relative).",
                                               tolerance=tolerance)
    if _is_zero(answer - expected):
        return ""
    if expected.is_number and answer.has(sp.Float):
        error = abs(sp.N(answer - expected)) / max(abs(sp.N(expected)), 1e-12)
        if error < 0.01:
            return "" if error < 1e-9 else t("Close, but the exercise asks for the exact number.")
    if _is_zero(answer + expected):
        return t("The sign is wrong.")
    missing = sorted(s.name for s in expected.free_symbols - answer.free_symbols)
    if missing:
        return t("Your answer does not depend on {names}. Should it?", names=listed(missing))
    ratios = _values(answer / expected) if expected.free_symbols else []
    if ratios and all(abs(ratio - ratios[0]) < 1e-9 * abs(ratio) for ratio in ratios):
        near = abs(ratios[0] - 1) < 0.01
        return t("Close, but a factor is rounded: give it exactly.") if near else t("Right up to a constant factor.")
    return t("This is not equal to the right answer.")


def _difference_of_entries(expected: tuple[Any, ...], answer: Any, tolerance: float) -> str:
    """As `_difference`, for several answers at once."""
    found = _as_tuple(answer, set().union(*(sp.sympify(e).free_symbols for e in expected)))
    if found is None or len(found) != len(expected):
        return t("The exercise asks for {n} answers; give them as a tuple.", n=len(expected))
    reasons = [_difference(e, a, tolerance) for e, a in zip(expected, found)]
    wrong = next((i for i, reason in enumerate(reasons) if reason), None)
    if wrong is None:
        return ""
    if len(found) < 5 and any(all(not _difference(e, a, tolerance) for e, a in zip(expected, other))
                              for other in permutations(found)):
        return t("These are the right entries, in another order than the exercise asks for.")
    return t("Entry {i}: {reason}", i=wrong + 1, reason=reasons[wrong])


def _values(expr: sp.Expr) -> list[sp.Expr]:
    """An expression at four points, to thirty digits; nothing where it is no finite number at one of them."""
    symbols = sorted(expr.free_symbols, key=str)
    rng = np.random.default_rng(0)
    points = [dict(zip(symbols, map(sp.Float, rng.uniform(0.3, 1.7, len(symbols))))) for _ in range(4)]
    found = [sp.N(expr.subs(point), 30) for point in points]
    return found if all(value.is_number and value.is_finite for value in found) else []


def _is_zero(expr: sp.Expr) -> bool:
    """Whether an expression vanishes: at a few points, which is quick, and by simplification where they do not tell."""
    values = _values(expr)
    if values and expr.free_symbols and all(abs(value) < 1e-12 for value in values):
        return True
    return not any(abs(value) > 1e-9 for value in values) and sp.simplify(expr) == 0
