"""Our meta-gradients against the peers', interleaved in one run on one processor: `make bench`.

Every contender takes full second-order MAML steps, Adam included, on the paper's sinusoids (Finn, Abbeel & Levine 2017:
net 1-40-40-1, 25 tasks, 10 support and 10 query points), in single precision and from the same θ. Before a contender is
timed its meta-gradient is compared with the one of HIPS autograd in double precision. What is reported is the median,
over rounds, of its time divided by ours in the same round: a busy machine slows both.

`--quality` trains for the paper's 60,000 iterations instead and reports its table 2. `--quick` makes few rounds.
"""

import os

# One thread each, before anything loads a BLAS: at this size a second one gains nobody anything.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
# NumPy's BLAS takes its kernels for this processor, as the compilers of the others do, whatever the shell exports.
os.environ.pop("OPENBLAS_CORETYPE", None)
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import importlib.metadata
import platform
import subprocess
import sys
import tarfile
import time
import types
import warnings
from pathlib import Path

import hypergradients
import numpy as np
import threadpoolctl

from metacalc import adam
from metacalc.meta import Learner, anil, fomaml, imaml, joint, maml, meta_sgd, reptile, with_rates
from metacalc.models import MLP
from metacalc.tasks import Sinusoids
from metacalc.training import _keep_freed_memory, evaluate, meta_train

HERE = Path(__file__).parent
ALPHA, ETA = 0.01, 1e-3
FIELDS = ("x_support", "y_support", "x_query", "y_query")


class Problem:
    """One setting: the model, a θ, and a few batches that the contenders take in turn."""

    def __init__(self, width=40, n_tasks=25, k_shots=10, k=1):
        self.k, self.n_tasks, self.k_shots, self.width = k, n_tasks, k_shots, width
        self.model = MLP((1, width, width, 1))
        rng = np.random.default_rng(0)
        self.theta = self.model.init(rng, np.float32)
        tasks = Sinusoids(k_shots=k_shots, n_query=k_shots, dtype=np.float32)
        self.batches = [tasks.sample(rng, n_tasks) for _ in range(8)]

    def layers(self):
        return [(W.copy(), b.copy()) for W, b in self.model.unflatten(self.theta)]


# --- the contenders: each takes a problem and returns (gradient(batch) -> flat array, step(batch)) --------------------

def ours(problem, method=maml, **settings):
    settings = settings or dict(alpha=ALPHA, k=problem.k)
    theta = with_rates(problem.theta, ALPHA) if method is meta_sgd else problem.theta
    rule = adam()
    state = [theta, rule.init(theta)]

    def step(batch):
        _, gradient = method(problem.model, state[0], batch, **settings)
        direction, state[1] = rule.update(gradient, state[1])
        state[0] = state[0] - ETA * direction

    return lambda batch: method(problem.model, theta, batch, **settings)[1], step


def ours_clear(problem):
    return ours(problem, alpha=ALPHA, k=problem.k, fast=False)


def jax_jit(problem, flat=False):
    import jax
    import jax.numpy as jnp
    import optax

    sizes = problem.model.sizes
    start = jnp.asarray(problem.theta) if flat else [tuple(map(jnp.asarray, layer)) for layer in problem.layers()]

    def loss(params, x, y):
        if flat:
            end, layers = 0, []
            for m, n in zip(sizes, sizes[1:]):
                layers.append((params[end:end + m * n].reshape(m, n), params[end + m * n:end + m * n + n]))
                end += m * n + n
        else:
            layers = params
        for W, b in layers[:-1]:
            x = jax.nn.relu(x @ W + b)
        return ((x @ layers[-1][0] + layers[-1][1] - y) ** 2).mean()

    def task_loss(params, x_support, y_support, x_query, y_query):
        phi = params
        for _ in range(problem.k):
            phi = jax.tree.map(lambda p, g: p - ALPHA * g, phi, jax.grad(loss)(phi, x_support, y_support))
        return loss(phi, x_query, y_query)

    def meta_loss(params, *batch):
        return jax.vmap(task_loss, (None, 0, 0, 0, 0))(params, *batch).mean()

    rule = optax.adam(ETA)

    @jax.jit
    def update(params, memory, *batch):
        value, gradient = jax.value_and_grad(meta_loss)(params, *batch)
        updates, memory = rule.update(gradient, memory)
        return value, optax.apply_updates(params, updates), memory

    state = [start, rule.init(start)]

    def step(batch):
        value, *state[:] = update(*state, *(getattr(batch, f) for f in FIELDS))
        jax.block_until_ready(value)

    def gradient(batch):
        leaves = jax.tree.leaves(jax.jit(jax.grad(meta_loss))(start, *(getattr(batch, f) for f in FIELDS)))
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    return gradient, step


def jax_flat(problem):
    return jax_jit(problem, flat=True)


def _torch():
    import torch
    torch.set_num_threads(1)
    return torch


def torch_eager(problem):
    """Tasks batched by hand: per-task weights as three-dimensional tensors."""
    torch = _torch()

    def forward(params, x):
        for i in range(0, len(params), 2):
            x = x @ params[i] + params[i + 1][:, None, :]
            x = torch.relu(x) if i < len(params) - 2 else x
        return x

    def meta_gradient(parameters, xs, ys, xq, yq):
        phi = [p.expand(len(xs), *p.shape) for p in parameters]
        for _ in range(problem.k):
            losses = ((forward(phi, xs) - ys) ** 2).mean(dim=(1, 2))
            grads = torch.autograd.grad(losses.sum(), phi, create_graph=True)
            phi = [p - ALPHA * g for p, g in zip(phi, grads)]
        return torch.autograd.grad(((forward(phi, xq) - yq) ** 2).mean(), parameters)

    return _torch_steps(torch, problem, meta_gradient)


def torch_func(problem, compiled=False):
    """torch.func vmap + grad; torch.compile takes this one, since it does not trace a double backward."""
    torch = _torch()
    from torch.func import grad, vmap

    def loss(params, x, y):
        for i in range(0, len(params), 2):
            x = x @ params[i] + params[i + 1]
            x = torch.relu(x) if i < len(params) - 2 else x
        return ((x - y) ** 2).mean()

    def task_loss(params, xs, ys, xq, yq):
        phi = params
        for _ in range(problem.k):
            phi = tuple(p - ALPHA * g for p, g in zip(phi, grad(loss)(phi, xs, ys)))
        return loss(phi, xq, yq)

    def functional(params, *batch):
        return grad(lambda p: vmap(task_loss, in_dims=(None, 0, 0, 0, 0))(p, *batch).mean())(params)

    if compiled:
        functional = torch.compile(functional)

    def meta_gradient(parameters, *batch):
        return functional(tuple(p.detach() for p in parameters), *batch)

    return _torch_steps(torch, problem, meta_gradient)


def torch_compile(problem):
    return torch_func(problem, compiled=True)


def _torch_steps(torch, problem, meta_gradient):
    parameters = [torch.tensor(a, requires_grad=True) for layer in problem.layers() for a in layer]
    rule = torch.optim.Adam(parameters, lr=ETA)

    def tensors(batch):
        return [torch.from_numpy(np.ascontiguousarray(getattr(batch, f))) for f in FIELDS]

    def gradient(batch):
        return np.concatenate([g.detach().numpy().ravel() for g in meta_gradient(parameters, *tensors(batch))])

    def step(batch):
        for p, g in zip(parameters, meta_gradient(parameters, *tensors(batch))):
            p.grad = g
        rule.step()

    return gradient, step


def _torch_net(torch, problem):
    layers = []
    for W, b in problem.layers():
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data, linear.bias.data = torch.tensor(W.T.copy()), torch.tensor(b)
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _module_steps(torch, net, backward):
    """For libraries with a loop over tasks of their own: `backward(batch)` leaves the gradients in the parameters."""
    rule = torch.optim.Adam(net.parameters(), lr=ETA)

    def run(batch):
        rule.zero_grad()
        backward([torch.from_numpy(np.ascontiguousarray(getattr(batch, f))) for f in FIELDS])

    def gradient(batch):
        run(batch)
        return np.concatenate([p.grad.numpy().T.ravel() for p in net.parameters()])  # Linear keeps Wᵀ

    def step(batch):
        run(batch)
        rule.step()

    return gradient, step


def learn2learn(problem):
    """learn2learn 0.2.0: the C extensions of its data module do not compile on Python 3.11, but its MAML needs none."""
    torch = _torch()
    source = HERE / ".venv" / "learn2learn"
    if not source.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--quiet",
                        "--dest", str(source), "learn2learn==0.2.0"], check=True, capture_output=True)
        with tarfile.open(next(source.glob("*.tar.gz"))) as archive:
            archive.extractall(source, filter="data")
    root = next(source.glob("*/learn2learn"))
    for name, path in (("learn2learn", root), ("learn2learn.algorithms", root / "algorithms")):
        package = types.ModuleType(name)  # without running its __init__, which imports the data module
        package.__path__ = [str(path)]
        sys.modules[name] = package
    from learn2learn.algorithms.maml import MAML

    learner, loss = MAML(_torch_net(torch, problem), lr=ALPHA), torch.nn.MSELoss()

    def backward(batch):
        total = 0.0
        for xs, ys, xq, yq in zip(*batch):
            clone = learner.clone()
            for _ in range(problem.k):
                clone.adapt(loss(clone(xs), ys))
            total = total + loss(clone(xq), yq)
        (total / problem.n_tasks).backward()

    return _module_steps(torch, learner, backward)


def higher(problem):
    torch = _torch()
    import higher as library
    net, loss = _torch_net(torch, problem), torch.nn.MSELoss()
    inner = torch.optim.SGD(net.parameters(), lr=ALPHA)

    def backward(batch):
        for xs, ys, xq, yq in zip(*batch):
            with library.innerloop_ctx(net, inner, copy_initial_weights=False) as (fast, optimizer):
                for _ in range(problem.k):
                    optimizer.step(loss(fast(xs), ys))
                (loss(fast(xq), yq) / problem.n_tasks).backward()

    return _module_steps(torch, net, backward)


def torchopt(problem):
    torch = _torch()
    import torchopt as library
    net, loss = _torch_net(torch, problem), torch.nn.MSELoss()
    inner = library.MetaSGD(net, lr=ALPHA)

    def backward(batch):
        net_state = library.extract_state_dict(net, by="reference")
        inner_state = library.extract_state_dict(inner, by="reference")
        for xs, ys, xq, yq in zip(*batch):
            for _ in range(problem.k):
                inner.step(loss(net(xs), ys))
            (loss(net(xq), yq) / problem.n_tasks).backward()
            library.recover_state_dict(net, net_state)
            library.recover_state_dict(inner, inner_state)

    return _module_steps(torch, net, backward)


CONTENDERS = {
    "metacalc": ours,
    "metacalc, the clear path": ours_clear,
    "JAX jit(vmap(grad)) + optax, a list of matrices": jax_jit,
    "JAX jit(vmap(grad)) + optax, one flat vector": jax_flat,
    "torch.compile": torch_compile,
    "PyTorch eager, tasks batched by hand": torch_eager,
    "torch.func vmap + grad": torch_func,
    "TorchOpt, its task loop": torchopt,
    "learn2learn, its task loop": learn2learn,
    "higher, its task loop": higher,
}


# --- the oracle, the floor, the clock ---------------------------------------------------------------------------------

def reference(problem, batch):
    """Meta-gradient in double precision by HIPS autograd."""
    import autograd
    import autograd.numpy as anp

    def loss(theta, x, y):
        end, sizes = 0, problem.model.sizes
        for l, (m, n) in enumerate(zip(sizes, sizes[1:])):
            x = x @ theta[end:end + m * n].reshape((m, n)) + theta[end + m * n:end + m * n + n]
            end += m * n + n
            x = anp.maximum(x, 0) if l < len(sizes) - 2 else x
        return anp.mean((x - y) ** 2)

    def meta_loss(theta):
        total = 0.0
        for xs, ys, xq, yq in zip(*(getattr(batch, f).astype(float) for f in FIELDS)):
            phi = theta
            for _ in range(problem.k):
                phi = phi - ALPHA * autograd.grad(loss)(phi, xs, ys)
            total = total + loss(phi, xq, yq)
        return total / problem.n_tasks

    return autograd.grad(meta_loss)(problem.theta.astype(float))


def matmul_floor(problem):
    """The matrix products of one exact meta-gradient, were the weights shared by all tasks, and nothing else.

    For each layer: forward and backward on the support set, on the query set and for the Hessian, and the three
    products that make its part of the gradient; nothing goes back to the input.
    """
    rng, N = np.random.default_rng(0), problem.n_tasks * problem.k_shots
    products = []
    for l, (m, n) in enumerate(zip(problem.model.sizes, problem.model.sizes[1:])):
        a, W, d = (rng.normal(size=shape).astype(np.float32) for shape in ((N, m), (m, n), (N, n)))
        z, below, g = np.empty_like(d), np.empty_like(a), np.empty_like(W)
        forward, backward, gradient = (3, 3, 3) if l else (2, 0, 2)
        products += [(a, W, z)] * forward + [(d, W.T, below)] * backward + [(a.T, d, g)] * gradient

    def step(batch):
        for a, b, out in products:
            np.dot(a, b, out=out)

    return None, step


def interleaved(steps, batches, rounds, seconds=0.03):
    """Microseconds a step, shape (rounds, contenders): in each round every contender gets a slice of time."""
    repeats = []
    for step in steps:
        for batch in batches[:3]:
            step(batch)
        start = time.perf_counter()
        step(batches[0])
        repeats.append(max(1, round(seconds / (time.perf_counter() - start))))
    times = np.empty((rounds, len(steps)))
    for r in range(rounds):
        for i in np.random.default_rng(r).permutation(len(steps)):
            start = time.perf_counter()
            for j in range(repeats[i]):
                steps[i](batches[j % len(batches)])
            times[r, i] = (time.perf_counter() - start) / repeats[i] * 1e6
    return times


def built(problem, contenders, tolerance=2e-5):
    """The contenders that can be had and whose gradient is right, and for the others the reason why not."""
    expected, steps, failures = reference(problem, problem.batches[0]), {}, {}
    for name, make in contenders.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                gradient, step = make(problem)
                error = np.abs(gradient(problem.batches[0]) - expected).max() / np.abs(expected).max()
                if not error < tolerance:
                    raise ArithmeticError(f"its gradient is off by {error:.1e}")
                step(problem.batches[0])
            steps[name] = step
            print(f"  {name}: relative error of the gradient {error:.1e}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever keeps a peer from running is reported
            failures[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"  {name}: NOT MEASURED, {failures[name]}", flush=True)
    return steps, failures


def compare(rounds):
    problem = Problem()
    steps, failures = built(problem, CONTENDERS)
    floor = "matmul floor"
    steps[floor] = matmul_floor(problem)[1]
    times = interleaved(list(steps.values()), problem.batches, rounds)
    mine = list(steps).index("metacalc")
    ratios = times / times[:, [mine]]
    rows = [(name, np.median(times[:, i]), *np.percentile(ratios[:, i], [50, 10, 90])) for i, name in enumerate(steps)]
    lines = ["| one meta-iteration, Adam included | µs | times ours | 10% to 90% of rounds |",
             "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {t:,.0f} | {r:.2f} | {low:.2f} to {high:.2f} |"
              for name, t, r, low, high in sorted(rows, key=lambda row: row[2])]
    lines += [f"| {name} | not measured: {reason} | | |" for name, reason in failures.items()]
    distance = 1 / np.median(ratios[:, list(steps).index(floor)])
    return lines + ["", f"Distance to the matmul floor: {distance:.2f} times."]


def algorithms(rounds):
    problem = Problem()
    variants = {
        "maml": (maml, dict(alpha=ALPHA)), "maml, k = 5": (maml, dict(alpha=ALPHA, k=5)),
        "fomaml": (fomaml, dict(alpha=ALPHA)), "reptile, k = 5": (reptile, dict(alpha=ALPHA, k=5)),
        "meta_sgd": (meta_sgd, dict(k=1)), "anil": (anil, dict(alpha=ALPHA)),
        "imaml, k = 5, 5 CG steps": (imaml, dict(alpha=ALPHA, k=5, lam=2.0, cg_steps=5)), "joint": (joint, {}),
    }
    steps = []
    for method, settings in variants.values():
        rule, theta = adam(), with_rates(problem.theta, ALPHA) if method is meta_sgd else problem.theta

        def step(batch, method=method, settings=settings, rule=rule, state=[theta, rule.init(theta)]):  # noqa: B006, B008 (its own)
            _, gradient = method(problem.model, state[0], batch, **settings)
            direction, state[1] = rule.update(gradient, state[1])
            state[0] = state[0] - ETA * direction

        steps.append(step)
    times = np.median(interleaved(steps, problem.batches, rounds), axis=0)
    return ["| algorithm | µs | times `maml` |", "| --- | --- | --- |"] + [
        f"| {name} | {t:,.0f} | {t / times[0]:.2f} |" for name, t in zip(variants, times)]


def growth(rounds):
    """Ours and JAX's time against tasks, width, steps and shots, one at a time; a table, and a plot beside it."""
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    axes_of_growth = {"n_tasks": (5, 10, 25, 50, 100), "width": (20, 40, 80, 160), "k": (1, 2, 5, 10),
                      "k_shots": (5, 10, 20, 50)}
    labels = {"n_tasks": "tasks", "width": "width", "k": "inner steps", "k_shots": "shots"}
    lines = ["| | | metacalc, µs | JAX, µs | JAX / metacalc | floor, µs (k = 1) |",
             "| --- | --- | --- | --- | --- | --- |"]
    plt.rcParams.update({"svg.hashsalt": "metacalc", "font.size": 9})
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.8), sharey=True, layout="constrained")
    for ax, (name, values) in zip(axes, axes_of_growth.items()):
        table = []
        for value in values:
            problem = Problem(**{name: value})
            steps = [ours(problem)[1], jax_jit(problem)[1], matmul_floor(problem)[1]]
            times = interleaved(steps, problem.batches, rounds)
            table.append(np.median(times, axis=0))
            mine, peer, floor = table[-1]
            lines.append(f"| {labels[name]} | {value} | {mine:,.0f} | {peer:,.0f} | "
                         f"{np.median(times[:, 1] / times[:, 0]):.2f} | {floor:,.0f} |")
            print("  " + lines[-1], flush=True)
        table = np.array(table)
        for column, (label, marker) in enumerate([("metacalc", "o-"), ("JAX jit", "s--"), ("matmul floor", "^:")]):
            if column < 2 or name != "k":
                ax.loglog(values, table[:, column], marker, ms=4, label=label)
        ax.set_xlabel(labels[name])
        ax.set_xticks(values, [str(v) for v in values])
        ax.minorticks_off()
    axes[0].set_ylabel("µs per meta-iteration")
    axes[0].legend(frameon=False)
    figure.savefig(HERE / "growth.svg", metadata={"Date": None})
    return [*lines, "", "![Time against tasks, width, inner steps and shots](growth.svg)"]


def quality(n_iters=60_000, n_seeds=3, n_tasks=4000):
    """Table 2 of Finn, Abbeel & Levine 2017: our numbers for three seeds, of the last θ and of the best one.

    The best is the one whose error with 5 shots, over 1, 5 and 10 steps, is lowest on 2,000 validation tasks; neither
    these nor the test tasks are trained on. The last one's 5-step mean hangs on a few tasks on the brink of divergence.
    """
    model, tasks, steps, shots = MLP((1, 40, 40, 1)), Sinusoids(dtype=np.float32), (0, 1, 5, 10), (5, 10, 20)
    lines = [f"MAML, {n_iters:,} iterations with K = 10 and one inner step, Adam at 1e-3. Mean squared error on "
             f"{n_tasks:,} new tasks: mean ± half-width of the 95% confidence interval over the tasks whose error "
             "stays below 100; median over all tasks; tasks in 1,000 beyond 100. The best θ of a run is chosen on 2,000 "
             "validation tasks.", "",
             "| θ | seed | shots | " + " | ".join(f"{s} steps" for s in steps) + " |",
             "| --- | --- | --- |" + " --- |" * len(steps)]
    for seed in range(n_seeds):
        best = [np.inf, None]

        def validate(t, loss, theta):
            if (t + 1) % 2000 == 0:
                result = evaluate(Learner(model, theta, ALPHA), tasks.with_shots(5), steps=(1, 5, 10), n_tasks=2000, seed=500,
                                  limit=np.inf)
                score = (result.mean + 1000 * result.diverged).sum()
                if score < best[0]:
                    best[:] = score, theta

        run = meta_train(maml, model, tasks, n_iters, eta=ETA, dtype=np.float32, seed=seed, alpha=ALPHA,
                         callback=validate, progress=False)
        for which, theta in (("last", run.theta), ("best", best[1])):
            result = evaluate(Learner(model, theta, ALPHA), tasks, steps=steps, shots=shots, n_tasks=n_tasks, seed=1000)
            for i, K in enumerate(shots):
                cells = [f"{result.mean[i, j]:.3f} ± {result.ci[i, j]:.3f}; {result.median[i, j]:.3f}; "
                         f"{1000 * result.diverged[i, j]:.1f}" for j in range(len(steps))]
                lines.append(f"| {which} | {seed} | {K} | " + " | ".join(cells) + " |")
                print("  " + lines[-1], flush=True)
    return [*lines, "", "The paper has, with 5 shots, 0.67, 0.38 and 0.35 after 1, 5 and 10 steps."]


def written(title, lines):
    """Replace one section of results.md, and leave the others as they are."""
    path = HERE / "results.md"
    text = path.read_text() if path.exists() else "# Benchmarks\n\nWritten by `bench.py`; see there what is measured.\n"
    head, *sections = text.split("\n## ")
    sections = [s for s in sections if not s.startswith(title + "\n")] + [title + "\n\n" + "\n".join(lines) + "\n"]
    path.write_text("\n## ".join([head, *(s.rstrip("\n") + "\n" for s in sections)]))


def blas():
    return ", ".join(sorted({f"{d['internal_api']} {d['version']} with its kernels for {d['architecture']}"
                             for d in threadpoolctl.threadpool_info() if d["internal_api"] == "openblas"}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quality", action="store_true", help="train and evaluate instead of timing")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.quality:
        written("Quality", quality())
        return
    rounds = 5 if arguments.quick else 40
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in
                         ("numpy", "jax", "torch", "optax", "higher", "TorchOpt", "autograd"))
    _keep_freed_memory()  # as `meta_train` does; it serves all contenders
    machine = (f"Python {platform.python_version()} on {platform.machine()}, one processor; {versions}, learn2learn "
               f"0.2.0; {blas()}.")
    for title, measure, head in (("Against the peers", compare, [machine, ""]), ("The algorithms", algorithms, []),
                                 ("Growth", growth, []),
                                 ("Hypergradients", lambda n: hypergradients.compare(interleaved, n), [])):
        print(title, flush=True)
        lines = head + measure(rounds if measure is not growth else max(5, rounds // 4))
        written(title, lines)
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
