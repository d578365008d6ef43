"""The exercises' answers, a module a chapter: what `metacalc.exercises.check` compares with.

A reader who is still thinking about an exercise should not be reading this.
"""

from metacalc.answers import (
    background,
    calculus_link,
    gradient_descent,
    language,
    meta_learning,
    outlook,
    practice,
    recommendation,
    tools,
    vision,
)


EXERCISES = {}
for chapter in (background, calculus_link, gradient_descent, meta_learning, practice, vision, language, recommendation, tools, outlook):
    EXERCISES |= chapter.EXERCISES
