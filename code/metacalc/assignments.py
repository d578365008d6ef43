"""Answers to exercises in files: saved by students, collected from a class, and checked again.

A file is JSON: `{"format": "metacalc-answers", "version": 1, "student": "Ada", "saved": "2026-10-01T09:30:00Z", "answers":
[{"exercise": "name", "right": true, "answer": "h*exp(theta)/2", "date": "2026-10-01T09:12:00Z"}]}`. What a file says of itself
proves nothing: its text is parsed as a formula, never evaluated, and only the checker's own verdict counts.
"""

from __future__ import annotations

import csv
import inspect
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sympy as sp

if TYPE_CHECKING:
    from metacalc.exercises import Checker

__all__ = ["Answer", "Collection", "HandedIn", "Result", "Row", "collect", "now", "read_answers", "save_answers", "text_of"]

FORMAT, VERSION = "metacalc-answers", 1
LARGEST, MOST, LONGEST, LONGEST_NAME = 10**6, 1000, 10**4, 100  # bytes of a file, answers in it, letters of each, of a name
SIGNS = {"right": "✓", "wrong": "✗", "not re-checked": "?", "": "–"}


class Answer(NamedTuple):
    """A student's answer.

    Attributes
    ----------
    exercise : str
        To which one, by its name.
    text : str
    right : bool
        What the checker said when it was given.
    date : str
        When that was, as `now` writes it.
    """

    exercise: str
    text: str
    right: bool
    date: str


class HandedIn(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    student : str
    saved : str
        When, as `now` writes it.
    answers : tuple of Answer
    """

    student: str
    saved: str
    answers: tuple[Answer, ...]


def now() -> str:
    """The time, in UTC, as the files have it.

    Returns
    -------
    str
        Such as "2026-10-01T09:30:00Z".
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text_of(answer: Any) -> str:
    """An answer as text: a formula so that it can be parsed again, a function as its source where that is known.

    Parameters
    ----------
    answer : object
        Whatever `check` was given.

    Returns
    -------
    str
        At most 10,000 letters.

    Examples
    --------
    >>> text_of((sp.Symbol("x") ** 2, 3)), text_of(np.array([1.0, 0.5])), text_of(sp.Matrix([1, 2]))
    ('(x**2, 3)', '[1.0, 0.5]', '(1, 2)')
    """
    try:
        if isinstance(answer, np.ndarray):
            answer = answer.tolist()
        elif isinstance(answer, sp.MatrixBase | sp.NDimArray):
            answer = tuple(sp.flatten(answer))
        text = inspect.getsource(answer) if inspect.isroutine(answer) or inspect.isclass(answer) else str(answer)
    except Exception:  # the reader's own objects may raise anything
        text = f"{type(answer).__name__}"
    return text[:LONGEST]


def save_answers(path: str | Path, student: str, answers: Iterable[Answer]) -> Path:
    """Save answers to a file; those that it holds already stay, unless one of these is later and as good.

    Parameters
    ----------
    path : str or Path
        A new file, or one of that student's answers.
    student : str
        The name that the teacher knows, one line of at most 100 letters.
    answers : iterable of Answer
        Those to add.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError
        If `student` is no such name, or `path` holds something else, or the answers of another student.
    """
    path, kept = Path(path), {}
    _name(student, "student")
    if path.exists():
        before = read_answers(path)
        if before.student != student:
            raise ValueError(f"path must not be the file of another student, got that of {before.student!r}")
        kept = {one.exercise: one for one in before.answers}
    for one in answers:
        if one.right or not (one.exercise in kept and kept[one.exercise].right):
            kept[one.exercise] = one
    listed = [{"exercise": one.exercise, "right": one.right, "answer": one.text, "date": one.date} for one in kept.values()]
    whole = {"format": FORMAT, "version": VERSION, "student": student, "saved": now(), "answers": listed}
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)  # whole or not at all
    return path


def read_answers(path: str | Path) -> HandedIn:
    """The answers that a file holds, by whomever it was written.

    Parameters
    ----------
    path : str or Path
        A file, and no link to one.

    Returns
    -------
    HandedIn
        Nothing of it has been checked.

    Raises
    ------
    ValueError
        If it is no such file, with what is wrong: a link, too large, no JSON, of another form, one exercise twice.
    """
    path = Path(path)
    if path.is_symlink() or not path.is_file():
        raise ValueError("path must be a file, and no link to one")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"path must be a file of at most {LARGEST} bytes, this is larger")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("path must be a file of JSON, this cannot be read as such") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise ValueError(f"path must be a file of answers, with the format {FORMAT!r} and the version {VERSION}")
    listed = found.get("answers")
    if not isinstance(listed, list) or len(listed) > MOST:
        raise ValueError(f"answers must be a list of at most {MOST}")
    answers = tuple(_answer(one) for one in listed)
    names = [one.exercise for one in answers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"answers must have each exercise once, got {twice[0]!r} twice")
    return HandedIn(_name(found.get("student"), "student"), _name(found.get("saved"), "saved"), answers)


def _name(value, what):
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{what} must be one line of 1 to {LONGEST_NAME} letters, got {str(value)[:LONGEST_NAME]!r}")
    return value.strip()


def _answer(one):
    wanted = {"exercise": str, "answer": str, "right": bool, "date": str}
    if not isinstance(one, dict) or not all(isinstance(one.get(key), kind) for key, kind in wanted.items()):
        raise ValueError("answers must each have an exercise, an answer and a date in text, and right, true or false")
    if len(one["answer"]) > LONGEST or len(one["date"]) > LONGEST_NAME:
        raise ValueError(f"answers must each have at most {LONGEST} letters")
    return Answer(_name(one["exercise"], "exercise"), one["answer"], one["right"], one["date"])


class Result(NamedTuple):
    """An answer after the teacher's own check.

    Attributes
    ----------
    status : {"right", "wrong", "not re-checked"}
    reason : str
    given : Answer
    """

    status: str
    reason: str
    given: Answer


class Row(NamedTuple):
    """A file of the class.

    Attributes
    ----------
    file : str
        Its name.
    student : str
    results : dict of str: Result
        By the exercises' names.
    notes : tuple of str
        What is to be said of it.
    """

    file: str
    student: str
    results: dict[str, Result]
    notes: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many are right, by the check made here."""
        return sum(result.status == "right" for result in self.results.values())


class Collection(NamedTuple):
    """The answers of a class, checked again: a table in a notebook, or a file for a spreadsheet.

    Attributes
    ----------
    exercises : tuple of str
        Their names.
    rows : tuple of Row
        One for each file.
    """

    exercises: tuple[str, ...]
    rows: tuple[Row, ...]

    def table(self) -> list[list[str]]:
        """Lines of words: the head, then one for each file."""
        lines = [["student", *self.exercises, "right", "not re-checked", "file", "notes"]]
        for row in self.rows:
            found = [row.results[name].status if name in row.results else "" for name in self.exercises]
            lines.append([row.student, *found, str(row.total), str(found.count("not re-checked")), row.file,
                          "; ".join(row.notes)])
        return lines

    def differences(self) -> list[str]:
        """Where a file says of an answer what the check made here does not, one line each."""
        return [f"{row.student}, {name}: the file says {'right' if one.given.right else 'wrong'}, the checker {one.status}"
                f"{one.reason and f' ({one.reason})'} for {one.given.text[:200]!r}"
                for row in self.rows for name, one in row.results.items()
                if one.status != "not re-checked" and (one.status == "right") != one.given.right]

    def programs(self) -> list[tuple[str, str, str]]:
        """Answers that are programs, which nothing runs here, to be read: student, exercise, text."""
        return [(row.student, name, one.given.text) for row in self.rows for name, one in row.results.items()
                if one.status == "not re-checked"]

    def write_csv(self, path: str | Path) -> Path:
        """Write the table for a spreadsheet, in which no word of a student is taken for a formula."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([f"'{word}" if word[:1] in ("=", "+", "-", "@") else word for word in line]
                                       for line in self.table())
        return Path(path)

    def _repr_html_(self) -> str:
        head, *lines = self.table()
        n = len(self.exercises)
        shown = [[line[0], *(SIGNS[word] for word in line[1:n + 1]), *line[n + 1:]] for line in lines]
        cells = lambda tag, line: "<tr>" + "".join(f"<{tag}>{escape(word)}</{tag}>" for word in line) + "</tr>"
        return ("<table><caption>✓ right, ✗ wrong, – no answer, ? a program, not re-checked</caption>"
                f"<thead>{cells('th', head)}</thead><tbody>{''.join(cells('td', line) for line in shown)}</tbody></table>")


def collect(files: str | Path | Iterable[str | Path], check: Checker, exercises: Iterable[str] | None = None) -> Collection:
    """Read the files of a class, and check every answer again.

    Parameters
    ----------
    files : folder, or iterable of files
        A folder stands for all files in it and below that end with `.json`.
    check : Checker
        The course's.
    exercises : iterable of str, optional
        The names of those that were set; all of the course's, unless given.

    Returns
    -------
    Collection
        One row for each file; of one that cannot be read, the notes say why.

    Raises
    ------
    ValueError
        If `files` is no folder, or `exercises` has a name twice or one that `check` does not know.
    """
    names = tuple(check.exercises if exercises is None else exercises)
    if len(set(names)) != len(names) or not set(names) <= set(check.exercises):
        raise ValueError(f"exercises must be different names of exercises, got {names!r}")
    if isinstance(files, str | Path):
        if not Path(files).is_dir():
            raise ValueError(f"files must be a folder or a list of files, got {str(files)!r}")
        files = Path(files).rglob("*.json")
    known, rows = {}, []
    for path in sorted(map(Path, files)):
        try:
            handed = read_answers(path)
        except (ValueError, OSError) as error:
            rows.append(Row(str(path), "", {}, (f"not read: {error}",)))
            continue
        given = {one.exercise: one for one in handed.answers}
        unknown = sorted(given.keys() - check.exercises.keys())
        notes = (f"no exercise of the course: {', '.join(unknown)[:LONGEST_NAME]}",) if unknown else ()
        results = {name: _checked(check, given[name], known) for name in names if name in given}
        rows.append(Row(str(path), handed.student, results, notes))
    return Collection(names, tuple(_with_namesakes(rows)))


def _checked(check, given, known):
    """The result of an answer; what several students answer is worked out once."""
    if check.exercises[given.exercise].program:
        return Result("not re-checked", "", given)
    key = given.exercise, given.text
    if key not in known:
        known[key] = check.verdict(*key)
    right, reason = known[key]
    return Result("right" if right else "wrong", reason, given)


def _with_namesakes(rows):
    students = [row.student for row in rows]
    for row in rows:
        more = row.student and students.count(row.student) > 1
        yield row._replace(notes=(*row.notes, "another file has this name")) if more else row
