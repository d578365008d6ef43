"""Hypergradients of ours against the peers': implicit and unrolled ones of a ridge penalty for each of 200 features, and
that of a learned optimiser. `bench.py` runs it after the meta-gradients.

Every contender works in double precision. Its gradient is compared with a closed form (implicit), with forward mode
(unrolled), or with JAX's of the same program (learned optimiser) before it is timed.
"""

import warnings

import numpy as np

from metacalc.bilevel import implicit_gradient, inner_minimum, ridge_penalties, unrolled
from metacalc.learned import DECAYS, EPS, SQUARES, CoordinateNet, learned_optimiser
from metacalc.models import Quadratic
from metacalc.tasks import Quadratics

N, P, TOLERANCE, K = 300, 200, 1e-8, 100


class Ridge:
    """Data, penalties, their minimum φ*, and an inner rate below 2/λ_max for the unrolled path."""

    def __init__(self):
        rng = np.random.default_rng(0)
        w = rng.normal(size=P) * (np.arange(P) < 20)
        self.x, self.x_query = rng.normal(size=(2, N, P))
        self.y, self.y_query = (x @ w + rng.normal(size=N) for x in (self.x, self.x_query))
        self.problem = ridge_penalties(self.x, self.y, self.x_query, self.y_query)
        self.theta = rng.normal(-2, 0.5, size=P)
        self.phi = inner_minimum(self.problem, self.theta, np.zeros(P), tol=1e-12)
        self.alpha = 1 / np.linalg.eigvalsh(self.hessian())[-1]

    def hessian(self):
        return self.x.T @ self.x / N + np.diag(np.exp(self.theta))

    def exact(self):
        """−e^θ φ* · H⁻¹∇L^Q."""
        by_phi = self.x_query.T @ (self.x_query @ self.phi - self.y_query) / N
        return -np.exp(self.theta) * self.phi * np.linalg.solve(self.hessian(), by_phi)


# --- a contender takes the setting and returns a function without arguments that gives the gradient --------------------

def ours_implicit(ridge):
    return lambda: implicit_gradient(ridge.problem, ridge.theta, ridge.phi, tol=TOLERANCE).gradient


def _jax():
    import jax
    import jax.numpy as jnp
    jax.config.update("jax_enable_x64", True)
    return jax, jnp


def _jax_losses(ridge):
    _, jnp = _jax()
    x, y, x_query, y_query = map(jnp.asarray, (ridge.x, ridge.y, ridge.x_query, ridge.y_query))
    inner = lambda phi, theta: ((x @ phi - y) ** 2).mean() / 2 + (jnp.exp(theta) * phi**2).sum() / 2
    outer = lambda phi: ((x_query @ phi - y_query) ** 2).mean() / 2
    return inner, outer, jnp.asarray(ridge.phi), jnp.asarray(ridge.theta)


def jax_implicit(ridge):
    jax, _ = _jax()
    inner, outer, phi, theta = _jax_losses(ridge)

    @jax.jit
    def gradient(phi, theta):
        by_phi = jax.grad(inner)
        times = lambda v: jax.jvp(lambda p: by_phi(p, theta), (phi,), (v,))[1]
        v, _ = jax.scipy.sparse.linalg.cg(times, jax.grad(outer)(phi), tol=0.0, atol=TOLERANCE)
        return -jax.vjp(lambda t: by_phi(phi, t), theta)[1](v)[0]

    return lambda: np.asarray(gradient(phi, theta))


def optimistix(ridge):
    import lineax
    import optimistix as library
    jax, _ = _jax()
    inner, outer, phi, theta = _jax_losses(ridge)
    solver = lineax.CG(rtol=0.0, atol=TOLERANCE)

    def lost(theta, phi):
        found = library.root_find(jax.grad(inner), library.Newton(1e-9, 1e-9, linear_solver=solver), phi, theta,
                                  adjoint=library.ImplicitAdjoint(solver), tags=frozenset({lineax.positive_semidefinite_tag}))
        return outer(found.value)

    gradient = jax.jit(jax.grad(lost))
    return lambda: np.asarray(gradient(theta, phi))


def torchopt(ridge):
    import torch
    import torchopt as library
    torch.set_num_threads(1)
    x, y, x_query, y_query, phi = map(torch.from_numpy, (ridge.x, ridge.y, ridge.x_query, ridge.y_query, ridge.phi))
    theta = torch.tensor(ridge.theta, requires_grad=True)
    inner = lambda phi, theta: ((x @ phi - y) ** 2).mean() / 2 + (theta.exp() * phi**2).sum() / 2

    @library.diff.implicit.custom_root(torch.func.grad(inner), argnums=1,
                                       solve=library.linear_solve.solve_cg(rtol=0.0, atol=TOLERANCE))
    def minimum(start, theta):
        return start

    def gradient():
        loss = ((x_query @ minimum(phi, theta) - y_query) ** 2).mean() / 2
        return torch.autograd.grad(loss, theta)[0].numpy()

    return gradient


def ours_unrolled(ridge):
    return lambda: unrolled(ridge.problem, ridge.theta, np.zeros(P), ridge.alpha, K).gradient


def jax_unrolled(ridge):
    jax, jnp = _jax()
    inner, outer, _, theta = _jax_losses(ridge)

    def lost(theta):
        step = lambda phi, _: (phi - ridge.alpha * jax.grad(inner)(phi, theta), None)
        return outer(jax.lax.scan(step, jnp.zeros(P), length=K)[0])

    gradient = jax.jit(jax.grad(lost))
    return lambda: np.asarray(gradient(theta))


def torch_unrolled(ridge):
    import torch
    torch.set_num_threads(1)
    x, y, x_query, y_query = map(torch.from_numpy, (ridge.x, ridge.y, ridge.x_query, ridge.y_query))
    theta = torch.tensor(ridge.theta, requires_grad=True)

    def gradient():
        phi = torch.zeros(P, dtype=torch.float64, requires_grad=True)
        for _ in range(K):
            inner = ((x @ phi - y) ** 2).mean() / 2 + (theta.exp() * phi**2).sum() / 2
            phi = phi - ridge.alpha * torch.autograd.grad(inner, phi, create_graph=True)[0]
        return torch.autograd.grad(((x_query @ phi - y_query) ** 2).mean() / 2, theta)[0].numpy()

    return gradient


class Bowls:
    """A learned optimiser on 50 quadratics with ten variables, 25 steps."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.net, self.k, self.alpha = CoordinateNet(), 25, 0.1
        self.theta, self.batch = self.net.init(rng), Quadratics(d=10).sample(rng, 50)


def ours_learned(bowls):
    model = Quadratic(10)
    return lambda: learned_optimiser(model, bowls.theta, bowls.batch, bowls.net, np.zeros(10), bowls.k, bowls.alpha)[1]


def jax_learned(bowls):
    jax, jnp = _jax()
    decays, h, f = jnp.asarray(DECAYS)[:, None], bowls.net.n_hidden, bowls.net.n_features

    def task_loss(theta, A, c, A_query, c_query):
        W, b, V, o = jnp.split(theta, [f * h, (f + 1) * h, (f + 3) * h])
        W, V = W.reshape(f, h), V.reshape(h, 2)

        def step(state, t):
            phi, m, v = state
            g = A @ (phi - c)
            m, v = decays * m + (1 - decays) * g, SQUARES * v + (1 - SQUARES) * g**2
            s = jnp.sqrt(v / (1 - SQUARES**t) + EPS**2)
            x = jnp.concatenate([m / (1 - decays**t) / s, jnp.log(s)[None]]).T
            out = jnp.tanh(x @ W + b) @ V + o
            phi = phi - bowls.alpha * out[:, 0] * jnp.exp(out[:, 1])
            return (phi, m, v), (phi - c_query) @ A_query @ (phi - c_query) / 2

        start = jnp.zeros(10), jnp.zeros((len(DECAYS), 10)), jnp.zeros(10)
        return jax.lax.scan(step, start, 1.0 + jnp.arange(bowls.k))[1].mean()

    data = [jnp.asarray(getattr(bowls.batch, name)) for name in ("x_support", "y_support", "x_query", "y_query")]
    gradient = jax.jit(jax.grad(lambda theta: jax.vmap(task_loss, (None, 0, 0, 0, 0))(theta, *data).mean()))
    theta = jnp.asarray(bowls.theta)
    return lambda: np.asarray(gradient(theta))


CONTENDERS = {
    "Implicit, by conjugate gradients": (Ridge, Ridge.exact, {
        "metacalc": ours_implicit, "JAX jit, by hand": jax_implicit,
        "Optimistix, which takes a Newton step of its own": optimistix, "TorchOpt": torchopt}),
    f"Unrolled, {K} steps": (
        Ridge, lambda r: unrolled(r.problem, r.theta, np.zeros(P), r.alpha, K, mode="forward").gradient,
        {"metacalc": ours_unrolled, "JAX jit(grad(scan))": jax_unrolled, "PyTorch eager": torch_unrolled}),
    "Learned optimiser, 25 steps": (Bowls, lambda bowls: jax_learned(bowls)(), {
        "metacalc": ours_learned, "JAX jit(vmap(grad(scan)))": jax_learned}),
}


def compare(interleaved, rounds):
    """Lines of a table: each contender's time for a gradient, and over ours in the same round."""
    lines = ["| one hypergradient | | µs | times ours |", "| --- | --- | --- | --- |"]
    for title, (setting, oracle, contenders) in CONTENDERS.items():
        at, steps, failures = setting(), {}, {}
        expected = oracle(at)
        for name, make in contenders.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    gradient = make(at)
                    error = np.abs(gradient() - expected).max() / np.abs(expected).max()
                if not error < 1e-6:
                    raise ArithmeticError(f"its gradient is off by {error:.1e}")
                steps[name] = lambda batch, gradient=gradient: gradient()
                print(f"  {name}: relative error of the gradient {error:.1e}", flush=True)
            except Exception as error:  # noqa: BLE001 - whatever keeps a peer from running is reported
                failures[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        times = interleaved(list(steps.values()), [None] * 8, rounds)
        ratios = np.median(times / times[:, [0]], axis=0)
        lines += [f"| {title} | {name} | {t:,.0f} | {r:.2f} |" for name, t, r in zip(steps, np.median(times, axis=0), ratios)]
        lines += [f"| {title} | {name} | not measured: {reason} | |" for name, reason in failures.items()]
    return lines
