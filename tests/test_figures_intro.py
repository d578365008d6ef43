"""The first page's live figure, against the derivative of ½a(1 − αa)²(θ − c)² by hand, and what its caption claims."""

import numpy as np

from conftest import answer, close, number_of, positions, shown

SHARPNESS, MINIMA = np.array([4, 1, 0.5]), (-1.0, 1.0, 4.0)


def pulls(alpha):
    return SHARPNESS * (1 - alpha * SHARPNESS) ** 2


def rest(alpha, minima=MINIMA):
    return (pulls(alpha) * minima).sum() / pulls(alpha).sum()


def path(n, alpha, start=-3.0, minima=MINIMA):
    """One outer step of rate ½ at a time."""
    found = [start]
    for _ in range(int(n)):
        found.append(found[-1] - 0.5 * (pulls(alpha) * (found[-1] - np.array(minima))).mean())
    return np.array(found)


def mean_loss(theta, alpha, minima=MINIMA):
    return (pulls(alpha) / 2 * (np.asarray(theta)[..., None] - minima) ** 2).mean(axis=-1)


def learning_to_learn(n, alpha, start, c1, c2, c3):
    minima, weights = (c1, c2, c3), pulls(alpha)
    theta = path(n, alpha, start, minima)[-1]
    return (f"After {number_of(n, 'outer iteration')} θ = {theta:.3f}: mean loss {mean_loss(theta, 0, minima):.3f} before an "
            f"inner step of rate α = {alpha:.2f}, {mean_loss(theta, alpha, minima):.3f} after it.\nPulls a(1 − αa)²: "
            f"{weights[0]:.3f}, {weights[1]:.3f}, {weights[2]:.3f}. θ comes to rest at {rest(alpha, minima):.3f}; without the "
            f"inner step it would at {rest(0, minima):.3f}.")


def check_learning_to_learn(stage):
    valleys, (before, *bars, joint), told = stage.marks[:6], stage.marks[6:17], stage.marks[17:]
    line, *arrows, after, trail, theta, begin, fulcrum = told
    at = lambda mark: shown(stage, mark, index)
    for index in positions(stage):
        n, alpha, start, *minima = (s.values[k] for s, k in zip(stage.sliders, index))
        walked, share, first = path(n, alpha, start, minima), *(pulls(r) / pulls(r).sum() for r in (alpha, 0))
        for i, (a, c) in enumerate(zip(SHARPNESS, minima)):
            valley, minimum, arrow, (bar, head, tick) = *valleys[2 * i:2 * i + 2], arrows[i], bars[3 * i:3 * i + 3]
            close(at(valley)[1], a / 2 * (valley.x - c) ** 2)
            close(at(minimum), [c, 0])
            away = walked[-1] - c
            close(at(arrow), [walked[-1], a / 2 * away**2, -alpha * a * away, a / 2 * away**2 * ((1 - alpha * a) ** 2 - 1)])
            close(at(bar), [[c, c], [0, share[i]]])
            close(at(head), [c, share[i]])
            close(at(tick), [[c - 0.45, c + 0.45], [first[i]] * 2])
        close(at(line), [[walked[-1]] * 2, [-1.2, 22]])
        for curve, rate in ((before, 0), (after, alpha)):
            close(at(curve)[1], mean_loss(curve.x, rate, minima))
            close(curve.x, np.linspace(-5, 5, 101))
        close(at(trail), [walked, mean_loss(walked, alpha, minima)])
        close(at(theta), [walked[-1], mean_loss(walked[-1], alpha, minima)])
        close(at(begin), [start, mean_loss(start, alpha, minima)])
        close(at(fulcrum), [rest(alpha, minima), -0.1])
        close(answer(stage, index), rest(alpha, minima))
        close(at(joint), [[rest(0, minima)] * 2, [-0.2, 1.08]])
    for valley in valleys[::2]:
        close(valley.x, np.linspace(-5, 5, 101))


def test_what_the_caption_claims():
    """Where θ comes to rest: pulled by the sharp task without the inner step, by the others with it, until it overshoots."""
    ends = [path(40, alpha)[-1] for alpha in np.arange(51) / 100]
    assert abs(ends[0] - rest(0)) < 1e-9 and abs(ends[20] - rest(0.2)) < 1e-3
    assert pulls(0)[0] / pulls(0).sum() > 0.7 and pulls(0.2).argmin() == 0 and pulls(0.25)[0] == 0
    assert np.argmax([rest(alpha) for alpha in np.arange(51) / 100]) == 25
    assert mean_loss(ends[20], 0) > 2 * mean_loss(ends[0], 0) and mean_loss(ends[20], 0.2) < 0.3 * mean_loss(ends[0], 0)
    assert pulls(0.5)[0] == 4 and pulls(0.5)[0] > 0.85 * pulls(0.5).sum()
