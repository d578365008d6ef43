"""The live figures of bilevel learning: what three ways to a hypergradient leave of an error; and 200 penalties learned."""

from functools import cache

import numpy as np
import sympy as sp

from metacalc.arrays import Array
from metacalc.bilevel import Bilevel, bilevel_descent, conjugate_gradients, neumann
from metacalc.course.bilevel import regression
from metacalc.descent import adam
from metacalc.stage import Curve, Formula, Guess, Point, Readout, Slider, Stage, panel

__all__ = ["bowl", "penalties", "solvers"]

N, R_MAX, K_MAX = 60, 30, 200
KAPPAS = (4, 10, 25, 50, 100)
FLOOR = 1e-9  # what is below is rounding's, and not the same everywhere
KAPPA, R, K, ALONG = sp.symbols("kappa r k s")


def bowl(kappa: float) -> tuple[Bilevel, Array, Array]:
    """The problem of the figure: f = ½ φ·Hφ − φ·θ and L^Q = ½‖φ‖², with eigenvalues of H from 1/κ to 1.

    Parameters
    ----------
    kappa : float
        Condition number, above 1.

    Returns
    -------
    problem : Bilevel
    theta : ndarray, shape (60,)
        The one for which φ* = (1, ..., 1).
    eigenvalues : ndarray, shape (60,)

    Examples
    --------
    >>> problem, theta, eigenvalues = bowl(4)
    >>> abs(problem.grad(np.ones(60), theta)).max()
    np.float64(0.0)
    """
    H = kappa ** -np.linspace(1, 0, N)
    problem = Bilevel(lambda phi, theta: (phi @ phi / 2, phi, np.zeros(N)), grad=lambda phi, theta: H * phi - theta,
                      hvp=lambda phi, theta, v: H * v, cross=lambda phi, theta, v: -v, push=lambda phi, theta, u: -u)
    return problem, H, H


@cache
def _errors() -> dict[str, Array]:
    """Relative errors: of v at φ*, in the norm of H, over (κ, r); of the hypergradient, over (κ, r, k) or (κ, k)."""
    rs, ks = np.arange(R_MAX + 1), np.arange(K_MAX + 1)
    at_minimum, in_all = np.zeros((2, len(KAPPAS), rs.size)), np.zeros((2, len(KAPPAS), rs.size, ks.size))
    alone = np.zeros((len(KAPPAS), ks.size))
    for i, kappa in enumerate(KAPPAS):
        H = bowl(kappa)[1]
        v, times, alpha = 1 / H, lambda u: H * u, 2 / (1 + 1 / kappa)
        phi = 1 - (1 - alpha * H) ** ks[:, None]  # where k inner steps lead from 0, for all k at once
        for solver, of in enumerate((lambda b, r: conjugate_gradients(times, b, r), lambda b, r: neumann(times, b, r, alpha))):
            for r in rs.tolist():
                at_minimum[solver, i, r] = np.sqrt((H * (of(np.ones(N), r) - v) ** 2).sum() / v.sum())
                in_all[solver, i, r] = np.linalg.norm(of(phi, r) - v, axis=-1) / np.linalg.norm(v)
        alone[i] = np.linalg.norm(phi * phi * v - v, axis=-1) / np.linalg.norm(v)  # each factor phi is one of the two errors
    found = {"cg": at_minimum[0], "series": at_minimum[1], "with cg": in_all[0], "with series": in_all[1], "unrolled": alone}
    return {name: np.maximum(table, FLOOR) for name, table in found.items()}


def solvers() -> Stage:
    """The error of a hypergradient after k inner steps and r products with H: measured, and what the theorems allow."""
    rs, ks, every = np.arange(R_MAX + 1), np.arange(K_MAX + 1), np.arange(0, K_MAX + 1, 5)
    found = _errors()  # the axes of the sliders: κ, r, k
    cg, series, unrolled = found["cg"][..., None], found["series"][..., None], found["unrolled"][:, None, :]
    fast, slow = (sp.sqrt(KAPPA) - 1) / (sp.sqrt(KAPPA) + 1), (KAPPA - 1) / (KAPPA + 1)
    allowed = slow**K + 2 * sp.sqrt(KAPPA) * fast**R * (1 + slow**K)
    left = panel("r, products with H", "error of v, logarithmic", (-1, R_MAX + 1), (1e-6, 5), "solving Hv = ∂L/∂φ at φ*", "log")
    right = panel("k, inner steps", "error, logarithmic", (-5, K_MAX + 5), (1e-6, 5), "the hypergradient at φₖ", "log")
    along = lambda expr, symbol, values: Formula(expr.subs(symbol, ALONG), over=(ALONG, values))
    curve = lambda name: found[name][:, :, None, ::5]
    marks = [
        Curve(left, rs, found["series"][:, None, None], color="orange", dash="--", label="Neumann"),
        Curve(left, rs, along(slow**R, R, rs), color="orange", dash=":", label="its bound"),
        Point(left, rs[:, None], series, color="orange", shape="^", name="The error of the series"),
        Curve(left, rs, found["cg"][:, None, None], color="blue", label="conjugate gradients"),
        Curve(left, rs, along(2 * fast**R, R, rs), color="blue", dash=":", label="their bound"),
        Point(left, rs[:, None], cg, color="blue", name="The error of conjugate gradients", label="r (drag it)", drag="r"),
        Curve(right, every, curve("with series"), color="orange", dash="--"),
        Curve(right, every, unrolled[..., None, ::5], color="green", dash="-.", label="unrolled"),
        Point(right, ks, unrolled, color="green", shape="s", name="The unrolled one"),
        Curve(right, every, curve("with cg"), color="blue"),
        Curve(right, every, along(allowed, K, every), color="blue", dash=":"),
        Point(right, ks, found["with cg"], color="red", shape="D", name="The hypergradient", label="k (drag it)", drag="k")]
    enough = (found["cg"] < 1e-3).argmax(axis=1)
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("kappa", KAPPAS, "condition number κ", 50, "d"), Slider("r", rs, "products r", 12, "d"),
         Slider("k", ks, "inner steps k", 100, "d")],
        Readout("At φ*, after {r:d} product{r:s}: conjugate gradients {cg:.2e} (bound {cg_bound:.2e}), Neumann {series:.2e} "
                "(bound {slow:.2e}).\nAfter {k:d} inner step{k:s}: with these conjugate gradients {whole:.2e} (bound "
                "{allowed:.2e}); unrolled, which takes {k:d} product{k:s}, {unrolled:.2e}.",
                cg=cg, cg_bound=Formula(2 * fast**R), series=series, slow=Formula(slow**R), whole=found["with cg"],
                allowed=Formula(allowed), unrolled=unrolled),
        play="k",
        guess=Guess(left, "x", "After how many products is the error of conjugate gradients under 1/1000?",
                    enough[:, None, None], [*marks[3:6], *marks[9:]], "d"),
        alt="Left: the error of conjugate gradients and of Neumann's series against the number of products with H, on "
            "a logarithmic scale, each with its bound. Right: the error of the hypergradient against the inner steps, "
            "for both solvers at the point that the inner loop has reached, and for unrolling.")


def penalties(n_iters: int = 100, seed: int = 12) -> Stage:
    """A penalty for each of 200 features, learned on 100 validation examples: their error, that on new data, the penalties.

    Parameters
    ----------
    n_iters : int
        Outer iterations.
    seed : int
        Of the data.
    """
    ts, shown = np.arange(n_iters + 1), np.arange(60)
    validation, new, theta = (np.stack(both) for both in zip(*(_learned(sparse, n_iters, seed) for sparse in (True, False))))
    left = panel("outer iteration", "mean squared error", (-3, n_iters + 3), (0, 4), "the same penalties, on two sets of data")
    right = panel("feature, the heaviest first", "learned log-penalty θⱼ", (-1.5, 60.5), (-8, 8), "60 of 200 penalties")
    level = lambda table: np.broadcast_to(table[:, None, :1], (2, 1, 2))
    new_marks = [Curve(left, ts, new[:, None], color="red", label="new data"),
                 Point(left, ts, new, color="red", shape="D", name="The error on new data", label="t (drag it)", drag="t")]
    marks = [Curve(left, [0.0, n_iters], level(new), color="grey", dash=":", label="one penalty, new data"),
             Curve(left, ts, validation[:, None], color="blue", dash="--", label="validation"),
             Point(left, ts, validation, color="blue", name="The validation error"), *new_marks,
             Curve(right, shown, theta[..., :60], color="purple", dash=" ", dots=True, label="θⱼ")]
    best = new.argmin(axis=1)
    return Stage(
        [left.figure, right.figure], marks,
        [Slider("kind", [0, 1], "features that matter", 0, "d", names=("10", "all 200")),
         Slider("t", ts, "outer iterations t", 10, "d")],
        Readout("After {t:d} outer iteration{t:s}: validation error {validation:.3f}, error on new data {new:.3f}; with one "
                "penalty for all {one:.3f}.\nThe penalties lie between e^{low:.2f} and e^{high:.2f}.", validation=validation,
                new=new, one=new[:, :1], low=theta.min(axis=-1), high=theta.max(axis=-1)),
        play="t",
        guess=Guess(left, "x", "After how many iterations is the error on new data least?", best[:, None], new_marks, "d"),
        alt="Left: the mean squared error against the outer iterations; that on the validation examples falls throughout, that "
            "on new data falls and then rises, with a level line for one penalty. Right: the learned log-penalties of 60 "
            "features, as dots.")


@cache
def _learned(sparse, n_iters, seed):
    """Errors on validation and new data, shape (t,), and θ, shape (t, 200), the features in order of their true weight."""
    draw = regression(seed, sparse)
    path = bilevel_descent(draw.problem, draw.theta(0.0), draw.start, 0.1, n_iters, adam(), tol=1e-6)
    new = np.array([1 + draw.error(draw.refit(theta)) for theta in path.theta])
    return 2 * path.loss, new, path.theta[:, draw.order]
