"""What the chapters' objectives cost: building one, and `f.grad` at plain floats, here and in another checkout.

`python benchmarks/objectives.py --against PATH/code` measures both in one run, in fresh interpreters that take turns, and
takes of each time the least: processor time, so that other programs count for little.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent.parent / "code"


def expressions():
    """What the chapters build objectives of, by chapter: (expression, variables)."""
    import sympy as sp

    theta, positive = sp.Symbol("theta", real=True), sp.Symbol("theta", positive=True)
    x, y = sp.symbols("x y", real=True)
    huber = sp.Piecewise((theta**2 / 2, sp.Abs(theta) < 1), (sp.Abs(theta) - sp.Rational(1, 2), True))
    loss = (theta - 2) ** 2 / 2 - sp.Rational(9, 10) * sp.log(sp.cosh(theta - 2))
    two_steps = theta
    for _ in range(2):
        two_steps = two_steps - sp.Rational(1, 5) * sp.diff(loss, theta).subs(theta, two_steps)
    return {
        "intro, a task": (3 * (theta - 2) ** 2 / 2, theta),
        "1, sine": (sp.sin(theta), theta),
        "2, double well": (theta**4 / 4 - theta**2 / 2, theta),
        "2, wavy in two variables": (sp.sin(x) * sp.exp(y) + x * y**2, (x, y)),
        "3, square": (theta**2, theta),
        "3, log cosh": (sp.log(sp.cosh(theta)), theta),
        "3, softplus": (sp.log(1 + sp.exp(theta)), theta),
        "3, Huber in pieces": (huber, theta),
        "3, barrier": (positive - sp.log(positive), positive),
        "3, Rosenbrock": ((1 - x) ** 2 + 100 * (y - x**2) ** 2, (x, y)),
        "4, MAML's objective, two steps": (loss.subs(theta, two_steps), theta),
        "5, a line's squared error": (sum((x * a + y - a**2) ** 2 for a in range(5)) / 5, (x, y)),
    }


def measured(calls=1000):
    """{name: (seconds to build, seconds of a gradient)} of the package that is on the path."""
    from sympy.core.cache import clear_cache

    from metacalc import Objective

    found = {}
    for name, (expr, variables) in expressions().items():
        builds, grads = [], []
        for _ in range(3):
            clear_cache()
            begin = time.process_time()
            f = Objective(expr, variables)
            builds.append(time.process_time() - begin)
        theta = [0.3, 0.3] if isinstance(variables, tuple) else 0.3
        f.grad(theta)
        for _ in range(30):
            begin = time.process_time()
            for _ in range(calls):
                f.grad(theta)
            grads.append((time.process_time() - begin) / calls)
        found[name] = min(builds), min(grads)
    return found


def main(against, rounds):
    best = {HERE: {}, against: {}}
    for _ in range(rounds):
        for code, least in best.items():
            run = subprocess.run([sys.executable, __file__], env=os.environ | {"PYTHONPATH": str(code)}, capture_output=True,
                                 text=True, check=True)
            for name, times in json.loads(run.stdout).items():
                least[name] = [min(pair) for pair in zip(times, least.get(name, times))]
    print(f"{'':32} build: here, there, ratio          gradient: here, there, ratio")
    for name, (build, grad) in best[HERE].items():
        build_there, grad_there = best[against][name]
        print(f"{name:32} {build * 1e3:8.1f} ms {build_there * 1e3:8.1f} ms {build / build_there:6.2f}    "
              f"{grad * 1e6:8.2f} µs {grad_there * 1e6:8.2f} µs {grad / grad_there:6.2f}")
    for i, what in enumerate(("build", "gradient")):
        here, there = (sum(times[i] for times in best[code].values()) for code in (HERE, against))
        print(f"all, {what}: {here / there:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", type=Path, help="the `code` folder of another checkout")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    if options.against:
        main(options.against.resolve(), options.rounds)
    else:
        print(json.dumps(measured()))
