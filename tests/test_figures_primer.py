"""The pictures of the page on what is assumed show what the page says of them."""

import numpy as np
import sympy as sp

from metacalc import Objective
from metacalc.course.figures.primer import expansions, intervals, quadratics


def test_intervals_that_miss_the_truth_are_dashed():
    samples = np.random.default_rng(3).standard_normal((300, 20))
    *lines, truth = intervals(samples, truth=0.1).axes[1].lines
    low, high = np.transpose([line.get_xdata() for line in lines])
    assert len(lines) == 40 and list(truth.get_xdata()) == [0.1, 0.1]
    np.testing.assert_allclose(low + high, 2 * samples[:40].mean(axis=1))
    np.testing.assert_allclose(high - low, 2 * 1.96 * samples[:40].std(axis=1, ddof=1) / np.sqrt(20))
    missed = (low > 0.1) | (high < 0.1)
    assert [line.get_linestyle() == "--" for line in lines] == list(missed) and 0 < missed.sum() < 20


def test_quadratics_have_their_eigenvectors_and_eigenvalues():
    figure = quadratics({"bowl": np.array([[2, 1], [1, 2]]), "saddle": np.array([[0, 2], [2, 0]])})
    for ax, title, A in zip(figure.axes, ("bowl", "saddle"), ([[2, 1], [1, 2]], [[0, 2], [2, 0]])):
        arrows = [note for note in ax.texts if not note.get_text()]
        told = [float(note.get_text()) for note in ax.texts if note.get_text()]
        assert ax.get_title() == title and len(arrows) == len(told) == 2
        for arrow, value in zip(arrows, told):
            np.testing.assert_allclose(A @ np.array(arrow.xy), value * np.array(arrow.xy), atol=1e-12)


def test_the_tangent_and_the_parabola_touch_at_the_point():
    x = sp.Symbol("x", real=True)
    curve, tangent, parabola, point = expansions(Objective(sp.exp(x), x), at=0.5).axes[0].lines
    move = curve.get_xdata() - 0.5
    np.testing.assert_allclose(curve.get_ydata(), np.exp(curve.get_xdata()))
    np.testing.assert_allclose(tangent.get_ydata(), np.exp(0.5) * (1 + move))
    np.testing.assert_allclose(parabola.get_ydata(), np.exp(0.5) * (1 + move + move**2 / 2))
    assert point.get_xdata()[0] == 0.5 and point.get_ydata()[0] == np.exp(0.5)
