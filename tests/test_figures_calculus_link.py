"""The live figures of the link, by loops and formulas of their own, and what their captions claim."""

from functools import cache

import numpy as np

from conftest import answer, close, number_of, positions, shown


def tilted(x, y):
    return x**2 + x * y / 2 + y**2


def slopes(angle, h, a, b):
    """Slope along u and difference quotient over h, at any angles."""
    u, v = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (2 * a + b / 2) * u + (a / 2 + 2 * b) * v, (tilted(a + h * u, b + h * v) - tilted(a, b)) / h


def direction(angle, h, a, b):
    slope, quotient = slopes(angle, h, a, b)
    return f"u at {angle:.0f}°: slope ∇f · u = {slope:.4f}; change over h = {h:.2f}, divided by h: {quotient:.4f}."


def check_direction(stage):
    arrow, chord, far, point, curve, tangent, secant, end, origin, gradient, cosine, quotients, now, then = stage.marks
    for index in positions(stage):
        angle, h, a, b = (s.values[k] for s, k in zip(stage.sliders, index))
        u, v = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        at, (slope, quotient), line = lambda mark: shown(stage, mark, index), slopes(angle, h, a, b), np.linspace(-1, 1, 41)
        close(at(arrow), [a, b, u, v])
        close(at(gradient), [a, b, (2 * a + b / 2) / 3, (a / 2 + 2 * b) / 3])
        close(at(point), [a, b])
        close(at(far), [a + h * u, b + h * v])
        close(at(chord), [[a, a + h * u], [b, b + h * v]])
        close(at(curve), [line, tilted(a + line * u, b + line * v) - tilted(a, b)])
        for mark, rate in ((tangent, slope), (secant, quotient)):
            close(at(mark), [[-1, 1], [-rate, rate]])
        close(at(end), [h, h * quotient])
        close(at(origin), [0, 0])
        angles = np.arange(0, 361, 3)
        for mark, expected in zip((cosine, quotients), slopes(angles, h, a, b)):
            close(at(mark), [angles, expected])
        close([at(now), at(then)], [[angle, slope], [angle, quotient]])
        assert slopes(answer(stage, index), h, a, b)[0] >= slopes(angles, h, a, b)[0].max() - 1e-9


def test_what_the_direction_s_caption_claims():
    """A cosine, largest along the gradient and zero along the level line; the quotient differs by a constant times h."""
    angles, (a, b) = np.arange(360), (0.8, 0.48)
    slope, near = slopes(angles, 0.1, a, b)
    along = np.degrees(np.arctan2(a / 2 + 2 * b, 2 * a + b / 2))
    close(slope, np.hypot(2 * a + b / 2, a / 2 + 2 * b) * np.cos(np.radians(angles - along)))
    assert abs(slope.argmax() - along) <= 0.5 and abs(slopes(along + 90, 0.1, a, b)[0]) < 1e-12
    close((slopes(angles, 1, a, b)[1] - slope) / (near - slope), 10)


@cache
def wells_path(k, start, eta):
    """Iterates on θ⁴/4 − θ²/2, the factors 1 − η(3θ² − 1), and the products of the first 0, …, k of them."""
    path, products = [start], [1.0]
    for _ in range(int(k)):
        products.append(products[-1] * (1 - eta * (3 * path[-1] ** 2 - 1)))
        path.append(path[-1] - eta * (path[-1] ** 3 - path[-1]))
    return np.array(path), 1 - eta * (3 * np.array(path) ** 2 - 1), np.array(products)


def chain(k, start, eta):
    path, _, products = wells_path(k, start, eta)
    return (f"θ₀ = {start:.2f} ↦ θₖ = {path[-1]:.4f} after k = {number_of(k, 'step')}. Derivative dθₖ/dθ₀ = "
            f"{products[-1]:.4f}, the product of the first k factors.")


def check_chain(stage):
    curve, tangent, end, path, theta, begin, factors, products, product, factor = stage.marks
    f = lambda t: t**4 / 4 - t**2 / 2
    for index in positions(stage):
        k, start, eta = (s.values[i] for s, i in zip(stage.sliders, index))
        at, (iterates, rates, so_far) = lambda mark: shown(stage, mark, index), wells_path(k, start, eta)
        line = np.linspace(-1.6, 1.6, 129)
        close(at(curve), [line, [wells_path(k, x, eta)[0][-1] for x in line]])
        close(at(tangent), [[start - 0.5, start + 0.5], iterates[-1] + so_far[-1] * np.array([-0.5, 0.5])])
        close(at(end), [start, iterates[-1]])
        close(at(path), [iterates, f(iterates)])
        close(at(theta), [iterates[-1], f(iterates[-1])])
        close(at(begin), [start, f(start)])
        close(at(factors), [np.arange(k + 1), rates])
        close(at(products), [np.arange(k + 1), so_far])
        close([at(product), at(factor)], [[k, so_far[-1]], [k, rates[-1]]])
    assert factor.hollow and not product.hollow


def test_what_the_chain_s_caption_claims():
    product = lambda k, start, eta=0.2: wells_path(k, start, eta)[2][-1]
    assert wells_path(0, 0.37, 0.2)[0][-1] == 0.37
    close([product(12, 0.0), product(12, 1.0), product(12, -1.0)], [1.2**12, 0.6**12, 0.6**12])
    grown = [product(k, 0.2) for k in range(13)]
    assert max(grown) > 2 and grown[-1] < 1 and 0 < np.argmax(grown) < 12  # grows first, and dies out later
    assert abs(wells_path(12, 0.5, 0.2)[0][-1] - wells_path(12, 1.4, 0.2)[0][-1]) < 0.03  # a stair
    assert product(1, 1.5, 0.4) < 0  # overshoots


def stepped(eta, a, b):
    """θ′ = θ − η(a, 4b), by hand; its loss, and the gradients at both ends."""
    x, y = (1 - eta) * a, (1 - 4 * eta) * b
    return (x, y), x**2 / 2 + 2 * y**2, (a, 4 * b), (x, 4 * y)


def best_rate(a, b):
    return (a**2 + 16 * b**2) / (a**2 + 64 * b**2)


def rate_slope(eta, a, b):
    _, loss, first, second = stepped(eta, a, b)
    product = first[0] * second[0] + first[1] * second[1]
    return (f"η = {eta:.2f}: F(η) = {loss:.4f}, its slope {-product:.4f}; ∇L(θ′) · ∇L(θ) = {product:.4f}.\n"
            f"F is least at η = {best_rate(a, b):.4f}, if the rate may be any number.")


def check_rate_slope(stage):
    before, after, way, there, here, losses, tangent, loss_now, products, slope_now = stage.marks
    rates = np.arange(61) / 100
    for index in positions(stage):
        eta, a, b = (s.values[k] for s, k in zip(stage.sliders, index))
        at, (place, loss, first, second) = lambda mark: shown(stage, mark, index), stepped(eta, a, b)
        slope = -np.dot(first, second)
        close(at(before), [a, b, first[0] / 4, first[1] / 4])
        close(at(after), [*place, second[0] / 4, second[1] / 4])
        close(at(way), [[a, place[0]], [b, place[1]]])
        close([at(there), at(here)], [place, [a, b]])
        close(at(losses), [rates, [stepped(r, a, b)[1] for r in rates]])
        close(at(tangent), [[eta - 0.12, eta + 0.12], [loss - 0.12 * slope, loss + 0.12 * slope]])
        close(at(loss_now), [eta, loss])
        close(at(products), [rates, [-np.dot(*stepped(r, a, b)[2:]) for r in rates]])
        close(at(slope_now), [eta, slope])
        close(answer(stage, index), best_rate(a, b))


def test_what_the_rate_s_caption_claims():
    """The gradients are perpendicular where F is least; the best rate lies between 1/4 and 1, and nears them on the axes."""
    for a, b in ((-1.47, 0.93), (0.3, -1.2), (1.7, 0.1)):
        best = best_rate(a, b)
        assert abs(np.dot(*stepped(best, a, b)[2:])) < 1e-12 and 0.25 < best < 1
        assert all(stepped(best, a, b)[1] < stepped(best + d, a, b)[1] for d in (-0.01, 0.01))
        assert np.dot(*stepped(best - 0.01, a, b)[2:]) > 0 > np.dot(*stepped(best + 0.01, a, b)[2:])
    assert best_rate(0.03, 1.5) < 0.2502 and best_rate(1.77, 0.03) > 0.98
