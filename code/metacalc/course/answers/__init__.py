"""The exercises' answers, a module a chapter: what `metacalc.course.check` compares with.

A reader who is still thinking about an exercise should not be reading this.
"""

from metacalc.course.answers import (
    background,
    bilevel,
    calculus_link,
    gradient_descent,
    language,
    learned,
    meta_learning,
    new_tasks,
    outlook,
    practice,
    recommendation,
    tools,
    vision,
)

EXERCISES = {}
for chapter in (background, calculus_link, gradient_descent, meta_learning, bilevel, practice, vision, language,
                recommendation, tools, outlook, learned, new_tasks):
    EXERCISES |= chapter.EXERCISES
