"""Answers that students hand in: saved, collected, checked again; and files that are anything else."""

import csv
import json
import os
import re

import nbformat
import numpy as np
import pytest
import sympy as sp

import metacalc
from conftest import ROOT
from metacalc.assignments import LARGEST, Answer, collect, read_answers, save_answers, text_of
from metacalc.course import check as course_check
from metacalc.course.answers import EXERCISES
from metacalc.exercises import Checker, Exercise
from test_exercises import SOLUTIONS, Hostile

x = sp.Symbol("x")


@pytest.fixture
def check():
    return Checker({"slope": Exercise(2 * x, mistakes=((x, "Mind the factor."),)), "pair": Exercise((1, 2)),
                    "square": Exercise(lambda answer: "" if answer(3) == 9 else "no", program=True)})


def file(folder, name="a", **changed):
    whole = {"format": "metacalc-answers", "version": 1, "student": "Ada", "saved": "2026-10-01T09:30:00Z", "answers": []}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(whole | changed), encoding="utf-8")
    return path


def said(exercise, answer, right=True):
    return {"exercise": exercise, "answer": answer, "right": right, "date": "2026-10-01T09:12:00Z"}


def test_a_session_is_saved_and_collected(tmp_path, check):
    check("slope", x)
    check("pair", (2, 1))
    check("pair", "(1, 2)")
    check("pair", (3, 3))  # a right answer stays
    check("pair")
    check("square", lambda u: u**2)
    path = check.save(tmp_path / "answers.json", student="Ada Lovelace")
    handed = read_answers(path)
    assert handed.student == "Ada Lovelace" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", handed.saved)
    assert [(one.exercise, one.text, one.right) for one in handed.answers[:2]] == [
        ("slope", "x", False), ("pair", "(1, 2)", True)]
    assert handed.answers[2].text.strip() == 'check("square", lambda u: u**2)'
    found = collect(tmp_path, check)
    assert found.table() == [["student", "slope", "pair", "square", "right", "not re-checked", "file", "notes"],
                             ["Ada Lovelace", "wrong", "right", "not re-checked", "1", "1", str(path), ""]]
    assert not found.differences() and found.programs() == [("Ada Lovelace", "square", handed.answers[2].text)]
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]


def test_another_session_adds_and_takes_nothing_right_away(tmp_path, check):
    path = tmp_path / "answers.json"
    save_answers(path, "Ada", [Answer("slope", "2*x", True, "1"), Answer("pair", "1", False, "1")])
    later = [Answer("slope", "3*x", False, "2"), Answer("pair", "2", False, "2"), Answer("square", "f", True, "2")]
    save_answers(path, "Ada", later)
    assert [(one.exercise, one.text, one.date) for one in read_answers(path).answers] == [
        ("slope", "2*x", "1"), ("pair", "2", "2"), ("square", "f", "2")]
    with pytest.raises(ValueError, match="another student"):
        check.save(path, "Emmy")
    for name in ("", "  ", "a\nb", "a" * 101, 3):
        with pytest.raises(ValueError, match="student"):
            check.save(tmp_path / "other.json", name)
    path.write_text("mine")
    with pytest.raises(ValueError, match="JSON"):
        check.save(path, "Ada")
    assert path.read_text() == "mine"


def test_verdicts_of_files_are_not_believed(tmp_path, check):
    file(tmp_path, answers=[said("slope", "x"), said("pair", "(1, 2)", False)])
    found = collect(tmp_path, check)
    assert found.rows[0].total == 1
    assert found.differences() == ["Ada, slope: the file says right, the checker wrong (Mind the factor.) for 'x'",
                                   "Ada, pair: the file says wrong, the checker right for '(1, 2)'"]


ATTACKS = ["__import__('os').system('touch MARK')", "open('MARK', 'w')", "eval('1')", "().__class__.__bases__[0]", "9**9**9**9",
           "(((2**50)**50)**50)**50", "exec(\"open('MARK','w')\")", "x" * 9000, "(" * 400, "lambda: 12", "sp.S('open(1)')",
           "\0"]


@pytest.mark.parametrize("text", ATTACKS)
def test_a_text_is_parsed_and_never_run(tmp_path, monkeypatch, text, check):
    monkeypatch.chdir(tmp_path)
    file(tmp_path, answers=[said(name, text) for name in check.exercises])
    (row,) = collect(tmp_path, check).rows
    assert {name: result.status for name, result in row.results.items()} == {
        "slope": "wrong", "pair": "wrong", "square": "not re-checked"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ATTACKS)
def test_no_exercise_of_the_course_runs_a_text(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    file(tmp_path, answers=[said(name, text) for name in EXERCISES])
    (row,) = collect(tmp_path, course_check).rows
    assert row.total == 0 and {one.status for one in row.results.values()} == {"wrong", "not re-checked"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


BROKEN = [(b"", "JSON"), (b"{", "JSON"), (b"\xff\xfe{}", "JSON"), (b"[" * 100_000, "JSON"), (b"[]", "format"), (b"3", "format"),
          (b'{"format": "other"}', "format"), (b" " * (LARGEST + 1), "larger")]
CHANGED = [({"version": 2}, "version"), ({"student": ""}, "student"), ({"student": ["Ada"]}, "student"),
           ({"student": "A\x1b[2J"}, "student"), ({"saved": None}, "saved"), ({"answers": {}}, "answers"),
           ({"answers": [said("slope", "x")] * 1001}, "at most 1000"), ({"answers": [3]}, "answers"),
           ({"answers": [said("slope", 3)]}, "answers"), ({"answers": [said("slope", "x", "yes")]}, "answers"),
           ({"answers": [said("slope", "x" * 10_001)]}, "letters"), ({"answers": [said("", "x")]}, "exercise"),
           ({"answers": [said("slope", "x"), said("slope", "2*x")]}, "'slope' twice")]


@pytest.mark.parametrize("data, reason", BROKEN)
def test_a_file_that_is_something_else_is_a_row_that_says_so(tmp_path, data, reason, check):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        read_answers(path)
    file(tmp_path, "b", answers=[said("slope", "2*x")])
    broken, whole = collect(tmp_path, check).rows
    assert reason in broken.notes[0] and not broken.results and whole.total == 1


@pytest.mark.parametrize("changed, reason", CHANGED)
def test_what_a_file_lacks_is_named(tmp_path, changed, reason, check):
    with pytest.raises(ValueError, match=reason):
        read_answers(file(tmp_path, **changed))
    assert reason in collect(tmp_path, check).rows[0].notes[0]


def test_links_folders_and_missing_files_are_rows(tmp_path, check):
    path = file(tmp_path, "z", answers=[said("slope", "2*x")])
    link = tmp_path / "link.json"
    link.symlink_to(path)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    found = collect([tmp_path / name for name in ("none.json", "link.json", "folder.json", "pipe.json", "z.json")], check)
    assert ["no link" in "".join(row.notes) for row in found.rows] == [True] * 4 + [False]


def test_unknown_exercises_and_namesakes_are_noted(tmp_path, check):
    file(tmp_path, "a", answers=[said("slope", "2*x"), said("no-such", "1")])
    file(tmp_path, "b")
    file(tmp_path, "c", student="Emmy")
    notes = [row.notes for row in collect(tmp_path, check).rows]
    assert notes == [("no exercise of the course: no-such", "another file has this name"), ("another file has this name",), ()]


def test_an_assignment_is_a_list_of_exercises(tmp_path, check):
    file(tmp_path, answers=[said("slope", "2*x"), said("pair", "(1, 2)")])
    found = collect(tmp_path, check, ["pair"])
    assert found.exercises == ("pair",) and found.rows[0].total == 1 and not found.rows[0].notes
    for wrong in (["pair", "pair"], ["other"]):
        with pytest.raises(ValueError, match="exercises"):
            collect(tmp_path, check, wrong)
    with pytest.raises(ValueError, match="files"):
        collect(tmp_path / "nowhere", check)


def test_a_student_s_words_are_no_program_of_a_table(tmp_path, check):
    file(tmp_path, student='=HYPERLINK("http://x")', answers=[said("pair", "(1, 2)")])
    file(tmp_path, "b", student="<script>alert(1)</script>")
    found = collect(tmp_path, check)
    lines = list(csv.reader(found.write_csv(tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    assert [line[0] for line in lines] == ["student", '\'=HYPERLINK("http://x")', "<script>alert(1)</script>"]
    assert lines[1][1:6] == ["", "right", "", "1", "0"]
    shown = found._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown and "<td>✓</td>" in shown


def test_every_right_answer_survives_being_saved(tmp_path):
    """The printed solutions, as objects, saved by the session and checked again from their text."""
    check = Checker(EXERCISES)
    for label, body in SOLUTIONS.items():
        names = {"np": np, "sp": sp, **{name: getattr(metacalc, name) for name in metacalc.__all__}}
        exec(re.search(r"```python\n(.*?)```", body, re.DOTALL)[1], names)
        check(label, names["answer"])
    check.save(tmp_path / "answers.json", "Ada")
    found = collect(tmp_path, Checker(EXERCISES))
    programs = [name for name, exercise in EXERCISES.items() if exercise.program]
    assert not found.differences() and found.rows[0].total == len(EXERCISES) - len(programs)
    assert sorted(name for _, name, _ in found.programs()) == sorted(programs)


def test_any_object_has_a_text():
    assert text_of(Hostile()) and text_of("x = 3") == "x = 3" and text_of(np.float64(0.5)) == "0.5"
    assert len(text_of("x" * 10**5)) == 10**4 and "def test_any" in text_of(test_any_object_has_a_text)
    assert text_of(sp.derive_by_array(x**2 + sp.Symbol("y"), (x, sp.Symbol("y")))) == "(2*x, 1)"


def test_the_teacher_s_notebook_runs(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "hub/teacher.ipynb", as_version=4)
    nbformat.validate(notebook)
    (tmp_path / "handed-in").mkdir()
    file(tmp_path / "handed-in", answers=[said("gd-ex-routine", "10/23"), said("gd-ex-decay", "2/lambda_max"),
                                          said("bg-ex-quotient", "lambda u: u**2")])
    monkeypatch.chdir(tmp_path)
    shown, names = [], {"display": lambda thing: shown.append(thing), "print": lambda *words: shown.append(" ".join(words))}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and max(map(len, cell.source.splitlines())) <= 80
            exec(cell.source, names)
    assert names["found"].rows[0].total == 1 and (tmp_path / "class.csv").exists()
    assert any("gd-ex-decay" in str(words) and "The new term curves" in str(words) for words in shown)
    assert any("lambda u: u**2" in str(words) for words in shown)
