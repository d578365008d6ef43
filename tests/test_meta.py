"""Meta-learners: closed forms on quadratics, independent differentiation on networks, exact tables."""

import inspect
import threading
import tracemalloc

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import optional
from metacalc import Objective, finite_difference, lowrank, meta, step
from metacalc.course.figures.outlook import best_rates
from metacalc.meta import Learner, adapt, anil, fomaml, imaml, joint, maml, meta_sgd, rate_schedule, reptile, with_rates
from metacalc.models import MLP, Quadratic
from metacalc.tasks import Batch, Quadratics, Sinusoids
from metacalc.training import meta_train

NETS = [MLP((1, 40, 40, 1)), MLP((1, 6, 5, 1), activation="tanh"), MLP((2, 5, 3), criterion="cross-entropy"),
        MLP((2, 4, 3), activation="tanh", criterion="cross-entropy")]


def close(actual, expected, tol=1e-9):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=tol, atol=tol * (1e-12 + np.abs(expected).max()))


def problem(model, seed=0, n_tasks=4, n_support=5, n_query=7, dtype=np.float64):
    """A meta-parameter and a batch whose support and query sets have nothing in common, not even their size."""
    rng = np.random.default_rng(seed)
    theta = (model.init(rng) + 0.2 * rng.normal(size=model.n_params)).astype(dtype)
    sets = []
    for n in (n_support, n_query):
        sets.append(rng.normal(size=(n_tasks, n, model.sizes[0])).astype(dtype))
        sets.append(rng.normal(size=(n_tasks, n, model.sizes[-1])).astype(dtype) if model.criterion == "squared"
                    else rng.integers(0, model.sizes[-1], size=(n_tasks, n)))
    return theta, Batch(*sets)


def quadratics(d, seed=0, n_tasks=5):
    """Tasks whose query set is another quadratic than their support set: (θ, A, c, B, b) and the batch."""
    rng = np.random.default_rng(seed)
    support, query = Quadratics(d).sample(rng, n_tasks), Quadratics(d, spread=2.0).sample(rng, n_tasks)
    A, c, B, b = support.x_support, support.y_support, query.x_support, query.y_support
    return rng.normal(size=d), A, c, B, b, Batch(A, c, B, b)


WITH_RATE = [maml, fomaml, reptile, anil, imaml]  # methods with an inner rate and a number of steps


def test_every_method_is_in_the_lists_that_follow():
    takes = {name: list(inspect.signature(getattr(meta, name)).parameters) for name in meta.__all__}
    found = {name for name, parameters in takes.items() if parameters[:3] == ["model", "theta", "batch"]}
    assert found == {method.__name__ for method in WITH_RATE} | {"joint", "meta_sgd", "rate_schedule"}


# --- closed forms -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("k", range(1, 11))
@pytest.mark.parametrize("d", [1, 3])
def test_every_algorithm_has_its_closed_form_on_quadratics(k, d):
    theta, A, c, B, b, batch = quadratics(d)
    model, alpha, I, n = Quadratic(d), 0.3, np.eye(d), len(c)
    J = [np.linalg.matrix_power(I - alpha * A[i], k) for i in range(n)]
    phi = [c[i] + J[i] @ (theta - c[i]) for i in range(n)]
    query = [B[i] @ (phi[i] - b[i]) for i in range(n)]
    loss = np.mean([(phi[i] - b[i]) @ query[i] / 2 for i in range(n)])

    def check(result, gradients, loss=loss):
        close(result[0], loss)
        close(result[1], np.mean(gradients, axis=0))

    check(maml(model, theta, batch, alpha, k), [J[i] @ query[i] for i in range(n)])
    check(fomaml(model, theta, batch, alpha, k), query)
    check(reptile(model, theta, batch, alpha, k), [(theta - phi[i]) / alpha for i in range(n)])
    # ∂φ_k/∂α_j = −Σ_m J^{k−1−m} e_j e_jᵀ A J^m (θ − c): one factor taken out of the product at each step m.
    check(meta_sgd(model, with_rates(theta, alpha), batch, k),
          [np.concatenate([J[i] @ query[i],
                           -sum(np.linalg.matrix_power(I - alpha * A[i], k - 1 - m) @ query[i]
                                * (A[i] @ np.linalg.matrix_power(I - alpha * A[i], m) @ (theta - c[i]))
                                for m in range(k))]) for i in range(n)])
    lam, bar = 0.7, [np.linalg.solve(A[i] + 0.7 * I, A[i] @ c[i] + 0.7 * theta) for i in range(n)]
    phi = [bar[i] + np.linalg.matrix_power(I - alpha * (A[i] + lam * I), k) @ (theta - bar[i]) for i in range(n)]
    query = [B[i] @ (phi[i] - b[i]) for i in range(n)]
    check(imaml(model, theta, batch, alpha, k, lam=lam), [np.linalg.solve(I + A[i] / lam, query[i]) for i in range(n)],
          np.mean([(phi[i] - b[i]) @ query[i] / 2 for i in range(n)]))
    at_theta = [(A[i] @ (theta - c[i]), B[i] @ (theta - b[i])) for i in range(n)]
    check(joint(model, theta, batch), np.mean(at_theta, axis=1),
          np.mean([((theta - c[i]) @ s + (theta - b[i]) @ q) / 4 for i, (s, q) in enumerate(at_theta)]))


@pytest.mark.parametrize("k", range(1, 11))
def test_every_algorithm_weighs_the_tasks_as_the_syllabus_says(k):
    """θ* = Σ w_i c_i / Σ w_i, with the weights w_i that are derived in the course."""
    batch, alpha, lam = Quadratics(curvature=(0.2, 4.0)).sample(np.random.default_rng(k), 6), 0.2, 0.5
    a, c, model = batch.x_support[:, 0, 0], batch.y_support[:, 0], Quadratic(1)
    for method, arguments, w in [
            (joint, {}, a),
            (maml, dict(alpha=alpha, k=k), a * (1 - alpha * a) ** (2 * k)),
            (anil, dict(alpha=alpha, k=k), a * (1 - alpha * a) ** (2 * k)),  # here the head is all there is
            (fomaml, dict(alpha=alpha, k=k), a * (1 - alpha * a) ** k),
            (reptile, dict(alpha=alpha, k=k), 1 - (1 - alpha * a) ** k),
            (imaml, dict(alpha=alpha, k=400, lam=lam, cg_steps=k), a * (lam / (a + lam)) ** 2)]:
        best = (w * c).sum() / w.sum()
        at_best, nearby = (method(model, [best + shift], batch, **arguments)[1][0] for shift in (0.0, 1.0))
        assert abs(at_best) < 1e-12
        close(nearby, w.mean() / (alpha if method is reptile else 1))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_maml_and_meta_sgd_agree_with_what_sympy_derives(k):
    """On a cubic, whose Jacobians differ from step to step, so that one factor in place of the product shows."""
    theta, alpha = sp.symbols("theta alpha")
    support, query = theta**3 / 3 + theta**2, (theta - 2) ** 2

    class Cubic:
        """The least that a model of one's own must have."""

        n_params = 1

        def loss(self, theta, x, y):
            return ((theta**3 / 3 + theta**2) * y + (theta - 2) ** 2 * (1 - y))[..., 0] * x[..., 0]

        def grad(self, theta, x, y):
            return ((theta**2 + 2 * theta) * y + 2 * (theta - 2) * (1 - y)) * x

        def hvp(self, theta, v, x, y):
            return ((2 * theta + 2) * y + 2 * (1 - y)) * v * x

    meta_loss = query.subs(theta, step(Objective(support, theta), alpha, k))
    at = {theta: 0.8, alpha: 0.15}
    ones = np.ones((1, 1))
    batch = Batch(ones, ones, ones, 0 * ones)
    loss, gradient = maml(Cubic(), [0.8], batch, 0.15, k)
    close(loss, float(meta_loss.subs(at)))
    close(gradient, [float(sp.diff(meta_loss, theta).subs(at))])
    _, gradient = meta_sgd(Cubic(), [0.8, 0.15], batch, k)
    close(gradient, [float(sp.diff(meta_loss, s).subs(at)) for s in (theta, alpha)])


def test_first_terms_of_the_taylor_series():
    """MAML = ḡ − 2αq̄, FOMAML = ḡ − αq̄, Reptile with two steps = 2ḡ − αq̄, up to α² (Nichol et al. 2018, section 5.1)."""
    model = NETS[1]
    theta, batch = problem(model, 3)
    same = Batch(batch.x_query, batch.y_query, batch.x_query, batch.y_query)
    g = model.grad(theta, same.x_query, same.y_query)
    g_bar, q_bar = g.mean(0), model.hvp(theta, g, same.x_query, same.y_query).mean(0)
    for method, k, times_g, times_q in [(maml, 1, 1, 2), (fomaml, 1, 1, 1), (reptile, 2, 2, 1)]:
        error = [np.linalg.norm(method(model, theta, same, alpha, k)[1] - (times_g * g_bar - alpha * times_q * q_bar))
                 for alpha in (1e-3, 1e-4)]
        assert error[1] < 0.015 * error[0] < 0.015 * np.linalg.norm(1e-3 * q_bar)


# --- networks ---------------------------------------------------------------------------------------------------------

def one_loss(xp, model, theta, x, y):
    """The network written out once more, for any array module: one task, θ of shape (p,)."""
    end, h = 0, x
    for l, (m, n) in enumerate(zip(model.sizes, model.sizes[1:])):
        W, b = theta[end:end + m * n].reshape((m, n)), theta[end + m * n:end + m * n + n]
        end += m * n + n
        h = h @ W + b
        if l < len(model.sizes) - 2:
            h = xp.tanh(h) if model.activation == "tanh" else h * (h > 0)
    if model.criterion == "squared":
        return ((h - y) ** 2).mean()
    return (xp.log(xp.exp(h).sum(1)) - (h * xp.eye(model.sizes[-1])[y]).sum(1)).mean()


def differentiated(model, theta, batch, alpha, k, mask=1.0):
    """Meta-loss and its gradient by HIPS autograd, which is told nothing but the definition."""
    def meta_loss(theta, alpha):
        total = 0.0
        for t in range(len(batch)):
            phi = theta
            for _ in range(k):
                phi = phi - alpha * mask * autograd.grad(
                    lambda q: one_loss(anp, model, q, batch.x_support[t], batch.y_support[t]))(phi)
            total = total + one_loss(anp, model, phi, batch.x_query[t], batch.y_query[t])
        return total / len(batch)
    return meta_loss(theta, alpha), autograd.grad(meta_loss, 0)(theta, alpha), autograd.grad(meta_loss, 1)(theta, alpha)


@pytest.mark.parametrize("model", NETS, ids=repr)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("fast", [True, False])
def test_maml_agrees_with_hips_autograd(model, k, fast):
    theta, batch = problem(model, 1)
    loss, gradient = maml(model, theta, batch, 0.1, k, fast=fast)
    expected = differentiated(model, theta, batch, 0.1, k)
    close(loss, expected[0])
    close(gradient, expected[1])


def test_maml_on_the_full_size_problem_agrees_with_hips_autograd():
    model, batch = NETS[0], Sinusoids().sample(np.random.default_rng(4), 25)
    theta = model.init(np.random.default_rng(5))
    expected = differentiated(model, theta, batch, 0.01, 1)
    for fast in (True, False):
        loss, gradient = maml(model, theta, batch, 0.01, fast=fast)
        close(loss, expected[0])
        close(gradient, expected[1])
    loss, gradient = maml(model, theta.astype(np.float32), batch, 0.01)
    assert loss.dtype == gradient.dtype == np.float32
    close(gradient, expected[1], 1e-5)


@pytest.mark.parametrize("model", NETS[1:3], ids=repr)
@pytest.mark.parametrize("k", [1, 3])
def test_meta_sgd_and_anil_agree_with_hips_autograd(model, k):
    theta, batch = problem(model, 2)
    rates = np.random.default_rng(6).uniform(-0.05, 0.2, model.n_params)
    loss, gradient = meta_sgd(model, np.concatenate([theta, rates]), batch, k)
    expected = differentiated(model, theta, batch, rates, k)
    close(loss, expected[0])
    close(gradient, np.concatenate(expected[1:]))
    loss, gradient = anil(model, theta, batch, 0.2, k)
    mask = np.zeros(model.n_params)
    mask[model.head] = 1
    expected = differentiated(model, theta, batch, 0.2, k, mask)
    close(loss, expected[0])
    close(gradient, expected[1])


@pytest.mark.parametrize("k", [1, 3])
def test_anil_needs_the_head_s_block_along_the_path_and_one_way_back_through_the_layers_below(k):
    model, alpha = NETS[1], 0.2
    theta, batch = problem(model, 2)
    body, w0, gradient = theta[:model.head.start], theta[model.head], 0.0

    def features(below, x):
        """The last hidden layer and a column of ones, which is all that the head sees."""
        (W1, b1), (W2, b2) = ((below[i:j].reshape(m, n), below[j:j + n]) for i, j, m, n in ((0, 6, 1, 6), (12, 42, 6, 5)))
        return anp.hstack([anp.tanh(anp.tanh(x @ W1 + b1) @ W2 + b2), anp.ones((len(x), 1))])

    for S, y, Q, z in zip(batch.x_support, batch.y_support[..., 0], batch.x_query, batch.y_query[..., 0]):
        fs, fq = features(body, S), features(body, Q)
        H, heads = 2 * fs.T @ fs / len(S), [w0]  # the block of the Hessian: 6 by 6
        for _ in range(k):
            heads.append(heads[-1] - alpha * 2 * fs.T @ (fs @ heads[-1] - y) / len(S))
        off = 2 * (fq @ heads[-1] - z) / len(Q)
        v, to_query, to_support = fq.T @ off, np.outer(off, heads[-1]), 0.0
        for w in reversed(heads[:-1]):
            to_support = to_support - alpha * 2 * (np.outer(fs @ w - y, v) + np.outer(fs @ v, w)) / len(S)
            v = v - alpha * H @ v
        back = autograd.grad(lambda b: (features(b, S) * to_support).sum() + (features(b, Q) * to_query).sum())(body)
        gradient = gradient + np.concatenate([back, v]) / len(batch)
    close(anil(model, theta, batch, alpha, k)[1], gradient)


@pytest.mark.parametrize("fast", [True, False])
def test_fomaml_and_reptile_are_gradients_at_the_adapted_parameters(fast):
    model = NETS[1]
    theta, batch = problem(model, 7)
    for k in (1, 4):
        path = adapt(model, theta, batch.x_support, batch.y_support, 0.1, k)
        assert path.shape == (k + 1, 4, model.n_params)
        losses = [autograd.value_and_grad(lambda q: one_loss(anp, model, q, batch.x_query[t], batch.y_query[t]))(
            path[k, t]) for t in range(4)]
        loss, gradient = fomaml(model, theta, batch, 0.1, k, fast=fast)
        close(loss, np.mean([v for v, _ in losses]))
        close(gradient, np.mean([g for _, g in losses], axis=0))
        inner = sum(model.grad(path[j], batch.x_support, batch.y_support) for j in range(k))
        close(reptile(model, theta, batch, 0.1, k)[1], inner.mean(0))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_learned_rates_of_steps_are_differentiated_one_by_one(k):
    rates = np.random.default_rng(11).uniform(-0.05, 0.2, k)
    theta, A, c, B, b, batch = quadratics(3)
    J = [np.eye(3) - rate * A for rate in rates]
    ends = [theta - c]
    for factor in J:
        ends.append((factor @ ends[-1][..., None])[..., 0])
    v, expected = (B @ (ends[k] + c - b)[..., None])[..., 0], []
    for factor, e in zip(reversed(J), reversed(ends[:-1])):
        expected.append(-((A @ e[..., None])[..., 0] * v).sum(axis=-1).mean())
        v = (factor @ v[..., None])[..., 0]
    loss, gradient = rate_schedule(Quadratic(3), rates, batch, theta)
    close(loss, Quadratic(3).loss(ends[k] + c, B, b).mean())
    close(gradient, expected[::-1])
    for model in NETS[1:3]:
        theta, batch = problem(model, 12)
        table = np.stack([rates, rates[::-1], np.full(k, 0.05)])
        loss, gradient = rate_schedule(model, table, batch, theta)
        close(gradient, finite_difference(lambda r: rate_schedule(model, r, batch, theta)[0], table), 1e-6)
        close(loss[2], maml(model, theta, batch, 0.05, k)[0])
        close(gradient[2].sum(), meta_sgd(model, with_rates(theta, 0.05), batch, k)[1][model.n_params:].sum())


def test_a_schedule_is_trained_by_the_same_loop():
    tasks = Quadratics(1, spread=0.0)
    run = meta_train(rate_schedule, Quadratic(1), tasks, 300, eta=0.05, theta0=[0.2, 0.3], start=[1.0], progress=False)
    batch = tasks.sample(np.random.default_rng(1), 500)
    best = best_rates(batch.x_support.ravel(), 2)
    reached, least, before = (rate_schedule(Quadratic(1), r, batch, [1.0])[0] for r in (run.theta, best, [0.2, 0.3]))
    assert least < reached < 1.1 * least < 0.1 * before
    assert run.learner is None  # two rates are no θ of the model, though they are as many as one with its rate


def test_a_learner_is_itself_and_no_other():
    one, other = (Learner(Quadratic(2), np.zeros(2), np.ones(2)) for _ in range(2))
    assert one == one != other and len({one, other}) == 2


@pytest.mark.parametrize("truncate", [0, 1, 3, 5, 9])
def test_truncation_leaves_out_the_factors_of_the_first_steps(truncate):
    k, through = 5, min(truncate, 5)
    theta, A, c, B, b, batch = quadratics(3)
    J = np.eye(3) - 0.3 * A
    phi = c + (np.linalg.matrix_power(J, k) @ (theta - c)[..., None])[..., 0]
    query = (B @ (phi - b)[..., None])
    close(maml(Quadratic(3), theta, batch, 0.3, k, truncate=truncate)[1],
          (np.linalg.matrix_power(J, through) @ query)[..., 0].mean(axis=0))
    for model in NETS[:3]:
        theta, batch = problem(model, 9)
        path = adapt(model, theta, batch.x_support, batch.y_support, 0.05, k)
        loss, gradient = maml(model, theta, batch, 0.05, k, truncate=truncate)
        close(loss, model.loss(path[k], batch.x_query, batch.y_query).mean())
        late = path[k - through]  # from there on exactly, and each task from its own point
        tasks = [batch[i:i + 1] for i in range(4)]
        close(gradient, np.mean([maml(model, late[i], task, 0.05, through)[1] for i, task in enumerate(tasks)]
                                if through else model.grad(late, batch.x_query, batch.y_query), axis=0))


def test_only_the_full_gradient_keeps_every_step():
    model = NETS[1]
    theta, batch = problem(model, 10, n_tasks=50)
    peaks = {}
    for name, run in (("full", lambda k: maml(model, theta, batch, 0.05, k, fast=False)),
                      ("last two", lambda k: maml(model, theta, batch, 0.05, k, truncate=2)),
                      ("first order", lambda k: fomaml(model, theta, batch, 0.05, k, fast=False)),
                      ("first order, fast", lambda k: fomaml(model, theta, batch, 0.05, k)),
                      ("Reptile", lambda k: reptile(model, theta, batch, 0.05, k)),
                      ("implicit", lambda k: imaml(model, theta, batch, 0.05, k, cg_steps=3))):
        for k in (10, 40):
            tracemalloc.start()
            run(k)
            peaks[name, k] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    iterate = theta.nbytes * len(batch)
    for name in ("last two", "first order", "first order, fast", "Reptile", "implicit"):
        assert abs(peaks[name, 40] - peaks[name, 10]) < iterate
    assert peaks["full", 40] - peaks["full", 10] > 30 * iterate


def test_imaml_solves_its_linear_system_and_approaches_the_true_gradient():
    model, lam = MLP((1, 3, 1), activation="tanh"), 3.0
    theta, batch = problem(model, 8, n_tasks=3)
    phi = adapt(model, theta, batch.x_support, batch.y_support, 0.1, 300, lam=lam)[-1]
    stationary = model.grad(phi, batch.x_support, batch.y_support) + lam * (phi - theta)
    assert np.abs(stationary).max() < 1e-8
    expected = []
    for t in range(3):
        hessian = autograd.hessian(lambda q: one_loss(anp, model, q, batch.x_support[t], batch.y_support[t]))(phi[t])
        query = autograd.grad(lambda q: one_loss(anp, model, q, batch.x_query[t], batch.y_query[t]))(phi[t])
        expected.append(np.linalg.solve(np.eye(10) + hessian / lam, query))
    loss, gradient = imaml(model, theta, batch, 0.1, 300, lam=lam, cg_steps=30)
    close(gradient, np.mean(expected, axis=0), 1e-7)
    # It is the gradient of the query loss at the proximal minimum, as a function of θ.
    f = lambda q: imaml(model, q, batch, 0.1, 300, lam=lam)[0]
    close(gradient, finite_difference(np.vectorize(f, signature="(p)->()"), theta, h=1e-5), 1e-5)


def test_conjugate_gradients_stop_where_the_curvature_turns_negative():
    A, c = np.diag([1.0, -4.0])[None], np.zeros((1, 2))  # H + λI has a negative eigenvalue
    _, gradient = imaml(Quadratic(2), [1.0, 1.0], Batch(A, c, A, c), 0.01, 1, lam=1.0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("model", NETS, ids=repr)
@pytest.mark.parametrize("k", [1, 5])
def test_maml_agrees_with_pytorch(model, k):
    torch = optional("torch")
    theta, batch = problem(model, 9)
    q = torch.tensor(theta, requires_grad=True)
    criterion = torch.nn.functional.mse_loss if model.criterion == "squared" else torch.nn.functional.cross_entropy

    def loss(phi, x, y):
        end, h = 0, torch.tensor(x)
        for l, (m, n) in enumerate(zip(model.sizes, model.sizes[1:])):
            h = torch.nn.functional.linear(h, phi[end:end + m * n].reshape(m, n).T, phi[end + m * n:end + m * n + n])
            end += m * n + n
            if l < len(model.sizes) - 2:
                h = torch.tanh(h) if model.activation == "tanh" else torch.relu(h)
        return criterion(h, torch.tensor(y))

    total = 0.0
    for t in range(len(batch)):
        phi = q
        for _ in range(k):
            g, = torch.autograd.grad(loss(phi, batch.x_support[t], batch.y_support[t]), phi, create_graph=True)
            phi = phi - 0.1 * g
        total = total + loss(phi, batch.x_query[t], batch.y_query[t]) / len(batch)
    expected, = torch.autograd.grad(total, q)
    value, gradient = maml(model, theta, batch, 0.1, k)
    close(value, total.item())
    close(gradient, expected.numpy())


@pytest.mark.parametrize("model", NETS, ids=repr)
@pytest.mark.parametrize("k", [1, 5])
def test_maml_agrees_with_jax(model, k):
    jax = optional("jax")
    theta, batch = problem(model, 10)

    def task_loss(theta, xs, ys, xq, yq):
        phi = theta
        for _ in range(k):
            phi = phi - 0.1 * jax.grad(lambda q: one_loss(jax.numpy, model, q, xs, ys))(phi)
        return one_loss(jax.numpy, model, phi, xq, yq)

    with jax.enable_x64(True):
        loss, expected = jax.jit(jax.value_and_grad(lambda q: jax.vmap(task_loss, (None, 0, 0, 0, 0))(
            q, batch.x_support, batch.y_support, batch.x_query, batch.y_query).mean()))(theta)
    value, gradient = maml(model, theta, batch, 0.1, k)
    close(value, loss)
    close(gradient, expected)


@settings(max_examples=80, deadline=None)
@given(hidden=st.lists(st.integers(1, 8), max_size=3), activation=st.sampled_from(["relu", "tanh"]),
       classes=st.booleans(), n=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
       ends=st.tuples(st.integers(1, 3), st.integers(1, 3)), k=st.integers(1, 4), single=st.booleans(),
       seed=st.integers(0, 1000))
def test_the_fast_path_is_the_clear_one(hidden, activation, classes, n, ends, k, single, seed):
    model = MLP((ends[0], *hidden, ends[1] + classes), activation, "cross-entropy" if classes else "squared")
    theta, batch = problem(model, seed, *n)
    other = problem(model, seed + 1, *n)
    steps, head = {"alpha": 0.1, "k": k}, {"alpha": 0.1, "k": k, "only": model.head}
    for method, options in ((maml, steps), (fomaml, steps), (maml, head), (joint, {}), (fomaml, head), (maml, steps)):
        method(model, 1e3 * other[0], other[1], **options)  # the arrays are kept, and nothing of this may be left there
        loss, gradient = method(model, theta, batch, **options, fast=False)
        fast = method(model, theta, batch, **options)
        close(fast[0], loss)
        close(fast[1], gradient)
    if single and activation == "tanh":  # for the ReLU rounding may choose another side of a kink
        fast = maml(model, theta.astype(np.float32), batch, 0.1, k)
        assert fast[0].dtype == fast[1].dtype == np.float32
        close(fast[0], loss, 1e-4)
        close(fast[1], gradient, 1e-4)


@pytest.mark.parametrize("model", NETS, ids=repr)
@pytest.mark.parametrize("kind, k", [(lowrank._LowRank, 1), (lowrank._PerTask, 1), (lowrank._PerTask, 2),
                                     (lowrank._PerTask, 5)])
def test_the_fast_path_is_the_clear_one_in_both_its_forms(kind, k, model, monkeypatch):
    """Each form in every layer, whether it pays there or not."""
    monkeypatch.setattr(lowrank, "_workspaces", threading.local())
    monkeypatch.setattr(lowrank, "_LowRank", kind)
    monkeypatch.setattr(lowrank, "_PerTask", kind)
    theta, batch = problem(model, 11)
    for method in (maml, fomaml):
        clear, fast = (method(model, theta, batch, 0.1, k, fast=fast) for fast in (False, True))
        assert {type(layer) for layer in lowrank._workspaces.value.layers} == {kind}
        close(fast[0], clear[0])
        close(fast[1], clear[1])


def test_the_fast_path_is_taken_where_it_can_be():
    model, theta = NETS[0], NETS[0].init(np.random.default_rng(0))
    few, many = (Sinusoids(K, K).sample(np.random.default_rng(1), 3) for K in (10, 30))
    suits = lambda *arguments, **settings: model.meta_gradient(*arguments, **settings) is not None
    assert suits(theta, few, 0.1) and suits(theta, few, 0.1, only=model.head)
    assert not suits(theta[None], few, 0.1) and not hasattr(Quadratic(1), "meta_gradient")
    assert not suits(theta, few, np.full(len(theta), 0.1)) and not suits(theta, few, 0.1, only=slice(0, 3))
    assert not suits(theta.astype(np.float16), few, 0.1) and not suits(theta.astype(">f8"), few, 0.1)
    for batch, k, kind in ((few, 1, lowrank._LowRank), (many, 1, lowrank._PerTask), (few, 2, lowrank._PerTask)):
        fast, clear = (maml(model, theta, batch, 0.1, k, fast=fast)[1] for fast in (True, False))
        assert np.abs(fast - clear).max() > 0  # another order of summation shows that it was
        close(fast, clear)
        assert type(lowrank._workspaces.value.layers[1]) is kind
        fast, clear = (maml(model, theta, batch, 0.1, k, model.head, fast=fast)[1] for fast in (True, False))
        assert np.abs(fast - clear).max() > 0 and type(lowrank._workspaces.value.layers[1]) is lowrank._Frozen
    fast, clear = (joint(model, theta, many, fast=fast)[1] for fast in (True, False))
    assert np.abs(fast - clear).max() > 0 and type(lowrank._workspaces.value.layers[1]) is lowrank._LowRank


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("model", NETS[:2], ids=repr)
def test_the_fast_path_recovers_from_a_batch_that_diverged(model, k, recwarn):
    theta, batch = problem(model, 12)
    loss, gradient = maml(model, theta, batch, 0.1, k)
    for value in (1e200, np.inf, np.nan):
        assert not np.isfinite(maml(model, np.full_like(theta, value), batch, 0.1, k)[1]).all()
    again = maml(model, theta, batch, 0.1, k)
    assert again[0] == loss
    np.testing.assert_array_equal(again[1], gradient)
    assert not recwarn.list


def test_tables_of_theta_and_alpha_are_worked_out_in_one_call():
    model, batch = Quadratic(2), Quadratics(2).sample(np.random.default_rng(0), 4)
    thetas = np.random.default_rng(1).normal(size=(6, 1, 2))
    alphas = np.linspace(0.1, 0.9, 5)[:, None]                 # with the thetas: a 6 × 5 table
    for method, extra in zip(WITH_RATE, [{}, {}, {}, {}, dict(lam=0.5)]):
        loss, gradient = method(model, thetas, batch, alphas, 3, **extra)
        assert loss.shape == (6, 5) and gradient.shape == (6, 5, 2)
        one = method(model, thetas[4, 0], batch, alphas[3, 0], 3, **extra)
        close(loss[4, 3], one[0])
        close(gradient[4, 3], one[1])
    assert adapt(model, thetas, batch.x_support, batch.y_support, alphas, 3).shape == (4, 6, 5, 4, 2)
    net = NETS[1]
    theta, batch = problem(net)
    table = np.stack([theta, theta + 0.1])
    close(maml(net, table, batch, 0.1, 2)[1][1], maml(net, table[1], batch, 0.1, 2)[1])
    close(joint(net, table, batch)[1][1], joint(net, table[1], batch)[1])
    # One rate for each parameter is an array too.
    close(maml(net, theta, batch, np.full(net.n_params, 0.1))[1], maml(net, theta, batch, 0.1)[1])


# --- bad input --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", WITH_RATE)
@pytest.mark.parametrize("change, message", [
    *[(dict(alpha=alpha), "alpha must be positive") for alpha in (0, 0.0, -0.1, np.nan, np.inf, "fast", [0.1, 0.0])],
    (dict(alpha=np.ones(3)), "alpha of shape"),
    *[(dict(k=k), "k must be a positive integer") for k in (0, -1, 1.5, True)],
    (dict(theta=np.ones(3)), "theta must have a last axis of length 2"),
    (dict(theta=1.0), "theta must have"),
    (dict(batch=Sinusoids().sample(np.random.default_rng(0), 2)), "x must hold the matrices A"),
    *[(dict(batch=batch), "batch must be") for batch in (None, (1, 2, 3, 4))], (dict(theta=[1j, 1]), "theta must"),
])
def test_bad_arguments_are_refused(method, change, message):
    batch = Quadratics(2).sample(np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match=f"^{message}"):
        method(Quadratic(2), **(dict(theta=np.ones(2), batch=batch, alpha=0.1, k=1) | change))


@pytest.mark.parametrize("call, message", [
    (lambda b: imaml(Quadratic(2), np.ones(2), b, 0.1, lam=0), "lam must be"),
    (lambda b: imaml(Quadratic(2), np.ones(2), b, 0.1, lam=np.nan), "lam must be"),
    (lambda b: imaml(Quadratic(2), np.ones(2), b, 0.1, cg_steps=0), "cg_steps must be"),
    (lambda b: meta_sgd(Quadratic(2), np.ones(2), b), "theta must have a last axis of length 4"),
    (lambda b: meta_sgd(Quadratic(2), np.ones(4), b, k=0), "k must be"),
    (lambda b: joint(Quadratic(2), np.ones(3), b), "theta must have"),
    (lambda b: adapt(Quadratic(2), np.ones(2), b.x_support, b.y_support, 0.1, lam=-1), "lam must be"),
    (lambda b: imaml(Quadratic(2), np.ones(2), b, 0.1, lam="a"), "lam must be"),
    (lambda b: maml(Quadratic(2), np.ones(2), b, 0.1, only=[5]), "only must be"),
    (lambda b: maml(Quadratic(2), np.ones(2), b, 0.1, truncate=-1), "truncate must be"),
    (lambda b: rate_schedule(Quadratic(2), [], b, np.ones(2)), "theta must have a last axis of one or more rates"),
    (lambda b: rate_schedule(Quadratic(2), [0.1], b, np.ones(3)), "start must have shape"),
])
def test_bad_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(Quadratics(2).sample(np.random.default_rng(0), 3))


def test_numpy_integers_count_steps():
    batch = Quadratics(2).sample(np.random.default_rng(0), 3)
    for method in (maml, anil):
        np.testing.assert_array_equal(method(Quadratic(2), np.ones(2), batch, 0.1, np.int64(2))[1],
                                      method(Quadratic(2), np.ones(2), batch, 0.1, 2)[1])
