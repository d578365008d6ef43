"""The exercises' answers, chapter by chapter: what `metacalc.exercises.check` compares with.

A reader who is still thinking about an exercise should not be reading this.
"""

import numpy as np
import sympy as sp

from metacalc.calculus import Objective, step
from metacalc.descent import convergence_factor, gradient_descent
from metacalc.exercises import Exercise
from metacalc.gaussian import GaussianPrior
from metacalc.meta import evaluate
from metacalc.models import MLP
from metacalc.tasks import Batch, Sinusoids
from metacalc.tasks.languages import SIMILAR, families, overlap

a, alpha, eta, gamma, h, k, lam, lambda_max, t, theta, theta_0, x, y = sp.symbols(
    "a alpha eta gamma h k lam lambda_max t theta theta_0 x y", positive=True)
b, c, d, N, o, p, sigma = sp.symbols("b c d N o p sigma", positive=True)
K, n, noise, nu, s, tau2 = sp.symbols("K n noise nu s tau2", positive=True)
z1, z2 = sp.symbols("z1 z2", positive=True)
R = sp.Rational


def _function_with_quotients(answer):
    """For bg-ex-quotient: a function whose central quotient is exact and whose forward quotient is not."""
    if not callable(answer):
        return "Give a Python function, such as lambda x: ..., of operations that SymPy knows (sp.sin, not np.sin)."
    slope = sp.diff(answer(x), x)
    central = sp.simplify((answer(x + h) - answer(x - h)) / (2 * h) - slope)
    forward = sp.simplify((answer(x + h) - answer(x)) / h - slope)
    if central != 0:
        return "The central difference quotient of your function is not exact for every h."
    return "The forward difference quotient of your function is exact too." if forward == 0 else ""


def _cycle(answer):
    """For gd-ex-edge: (objective, rate, point) of a cycle of length two beyond the threshold."""
    objective, rate, point = answer
    if not isinstance(objective, Objective) or objective.is_vector:
        return "The first entry must be an Objective of one variable."
    path = gradient_descent(objective.grad, float(point), float(rate), 40)
    if abs(path[1] - path[0]) < 1e-3:
        return "Your point does not move: it is no cycle of length two."
    if not np.allclose(path[::2], path[0], atol=1e-4) or not np.allclose(path[1::2], path[1], atol=1e-4):
        return "Forty iterations from your point do not stay on two points."
    minimum = gradient_descent(objective.grad, float(np.mean(path[:2])), 0.01, 20_000)[-1]
    if not rate > 2 / objective.hess(float(minimum)):
        return "Your rate does not exceed 2/f'' at the minimum between the two points."
    return ""


def _same_direction(answer):
    """For cl-ex-disagree: two losses of θ, and a point where their gradients cancel without vanishing."""
    first, second, point = answer
    f, g = (Objective(sp.sympify(str(e), locals={"theta": theta}), theta) for e in (first, second))
    if f.grad(float(point)) * g.grad(float(point)) >= 0:
        return "At your point the two gradients do not point against each other."
    joint = Objective(f.expr + g.expr, theta)
    if abs(joint.grad(float(point))) > 1e-9:
        return "At your point the gradient of the sum is not zero."
    if not joint.hess(float(point)) > 0:
        return "At your point the sum has no minimum that its second derivative shows."
    far = np.array([-1e3, 1e3])
    if min(f(far).min(), g(far).min()) < min(f(float(point)), g(float(point))) - 100:
        return "One of your losses is not bounded below."
    return ""


def _momentum_pair(answer):
    """For gd-ex-momentum: (best β, its factor, the β that is as slow as none) for ηλ = 1/4."""
    best, factor, slow = (float(sp.sympify(v)) for v in answer)
    if not 0 <= best < 1 or not 0 <= slow < 1:
        return "A momentum lies in [0, 1)."
    if abs(convergence_factor(0.25, best, [1.0]) - 0.5) > 1e-6:
        return "Entry 1: there is a β with a smaller factor."
    if abs(factor - 0.5) > 1e-6:
        return "Entry 2: this is not the factor of the best β."
    if slow <= best or abs(convergence_factor(0.25, slow, [1.0]) - 0.75) > 1e-6:
        return "Entry 3: with this β momentum is not as slow as none."
    return ""


def _disagreement(answer):
    """For ml-ex-disagree: two curvatures for which MAML and Reptile end far apart (c = 0 and 1, α = 1/4, k = 5)."""
    curvatures = np.array([float(sp.sympify(v)) for v in answer])
    if curvatures.shape != (2,) or not np.all((curvatures >= 0.2 - 1e-9) & (curvatures <= 4 + 1e-9)):
        return "The exercise asks for two curvatures between 1/5 and 4."
    left = (1 - curvatures / 4) ** 5
    maml, reptile = curvatures * left**2, 1 - left
    if maml.sum() == 0:
        return "One step solves both of your tasks, so that MAML does not care where it ends."
    gap = abs(maml[1] / maml.sum() - reptile[1] / reptile.sum())
    best = 1 / (2 - 0.95**5)
    return "" if gap > best - 1e-3 else f"For your curvatures the distance is {gap:.4f}. There are larger ones."


def _hessian_from_gradients(answer):
    """For tl-ex-difference: a function that makes Hv from two gradients, with an error of order h²."""
    if not callable(answer):
        return "Give a Python function of grad, theta and v."
    calls = []

    def grad(q):  # of Σ q⁴/4 + (Σ q)²/2, whose Hessian is diag(3q²) + 1
        calls.append(np.array(q, float))
        return calls[-1] ** 3 + calls[-1].sum()

    q, v = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -0.7])
    result = np.asarray(answer(grad, q, v), float)
    if len(calls) != 2:
        return f"Your function takes {len(calls)} gradients. Two are enough."
    exact = 3 * q**2 * v + v.sum()
    if result.shape != exact.shape:
        return f"For three parameters the result should have the shape (3,), not {result.shape}."
    if np.allclose(result, exact, rtol=1e-5):
        return "" if not np.array_equal(calls[0], q) and not np.array_equal(calls[1], q) else (
            "One of your gradients is at θ itself: that quotient is of first order, and close only for a tiny h.")
    if np.allclose(result, 2 * exact, rtol=1e-2) or np.allclose(result, exact / 2, rtol=1e-2):
        return "Off by a factor of two: how far apart are the two points?"
    return "This is not the Hessian times v."


def _convex_and_then_not(answer):
    """For out-ex-convex: a loss that is convex on [−3, 3] and a rate such that MAML's objective is not."""
    objective, rate = answer
    if not isinstance(objective, Objective) or objective.is_vector:
        return "The first entry must be an Objective of one variable."
    rate, grid = float(rate), np.linspace(-3, 3, 2001)
    curvature = objective.hess(grid)
    if not curvature.min() >= -1e-12:
        return "Your loss is not convex on [−3, 3]."
    if not 0 < rate * curvature.max() <= 1 + 1e-9:
        return "The rate must be positive, with αL″ at most 1 on [−3, 3]."
    adapted = objective.expr.subs(objective.variables, step(objective, rate))
    bent = Objective(adapted, objective.variables).hess(grid)
    return "" if bent.min() < -1e-9 * (1 + np.abs(bent).max()) else "With this rate MAML's objective is convex there."
def _leak(answer):
    """For vi-ex-leak: two labels, a Georgian letter and one of another script that looks like it."""
    from metacalc.tasks import printed_characters

    letters, (first, second) = printed_characters(), answer
    names = letters.classes.tolist()
    if first not in names or second not in names:
        return "Give two labels of `letters.classes`."
    scripts = {label.split("/")[0] for label in (first, second)}
    if len(scripts) < 2 or "Georgian" not in scripts:
        return "One letter should be Georgian, the other of another script."
    return "" if letters.alike[names.index(first), names.index(second)] else "These two do not look alike by the rules of the chapter."


def _best_question(answer):
    """For rc-ex-question: a 3 × 3 covariance whose most uncertain item is not the best one to ask about (noise 1/2)."""
    cov = np.array([[float(sp.sympify(v)) for v in row] for row in np.asarray(answer, object).tolist()])
    if cov.shape != (3, 3):
        return "Give a 3 × 3 matrix, as three lists of three numbers."
    prior = GaussianPrior(np.zeros(3), cov, 0.5)
    if np.sort(np.diagonal(cov))[-1] - np.sort(np.diagonal(cov))[-2] < 1e-9:
        return "Two of your items are the most uncertain together."
    best, loudest = prior.best_questions(range(3), 1)[0], int(np.diagonal(cov).argmax())
    return "For your matrix the most uncertain item is the best question." if best == loudest else ""


def _not_apart(answer):
    """For la-ex-apart: two languages of different families that must not stand on two sides."""
    one, other = answer
    family = families()
    if not {one, other} <= family.keys() or one == other:
        return "Give the codes of two different languages of families()."
    if family[one] == family[other]:
        return "These two are of one family."
    return "" if overlap(one, other) >= SIMILAR else f"Only {overlap(one, other):.0%} of their names agree."


phi_1 = theta - alpha * theta**2
phi_2 = phi_1 - alpha * phi_1**2

def _lines(answer):
    """For pr-ex-family: a distribution of lines with slopes in [−1, 1] and intercepts in [−2, 2]."""
    if not callable(getattr(answer, "sample", None)):
        return "Give an object with a method sample(rng, n_tasks)."
    batch, again = (answer.sample(np.random.default_rng(0), 400) for _ in range(2))
    if not isinstance(batch, Batch):
        return "sample must return a Batch."
    x, y = (np.concatenate(parts, axis=1) for parts in ((batch.x_support, batch.x_query), (batch.y_support, batch.y_query)))
    if batch.x_support.shape != (400, 5, 1) or batch.x_query.shape != (400, 10, 1) or y.shape != x.shape:
        return "A task needs 5 support and 10 query points, in arrays of shape (n_tasks, points, 1)."
    if not np.array_equal(batch.y_query, again.y_query):
        return "The same rng gave other tasks: take all chance from rng."
    if not -5 <= x.min() < -4.9 or not 4.9 < x.max() <= 5:
        return "The points x are not uniform in [−5, 5]."
    m = (y[:, 1] - y[:, 0]) / (x[:, 1] - x[:, 0])
    c = y[:, 0] - m * x[:, 0]
    if not np.allclose(y[..., 0], m * x[..., 0] + c, atol=1e-6):
        return "The points of a task do not lie on one line, support and query alike."
    if not (-1.001 <= m.min() < -0.97 and 0.97 < m.max() <= 1.001):
        return "The slopes are not uniform in [−1, 1]."
    return "" if -2.001 <= c.min() < -1.94 and 1.94 < c.max() <= 2.001 else "The intercepts are not uniform in [−2, 2]."


def _meta_trained(answer):
    """For pr-ex-tanh: θ of a tanh net that adapts to sine waves in one step."""
    model = MLP((1, 40, 40, 1), "tanh")
    theta = np.asarray(answer, float)
    if theta.shape != (model.n_params,):
        return f"θ must be a vector of {model.n_params} numbers."
    error = evaluate(model, theta, Sinusoids(), 0.01, steps=(0, 1), n_tasks=300, seed=77).mean
    return "" if error[1] < 1.1 else f"After one step the error is {error[1]:.2f}, before it {error[0]:.2f}."


def _group_of_rates(answer):
    """For pr-ex-rates."""
    if answer not in ("W_1", "b_1", "W_2", "b_2", "W_3", "b_3"):
        return 'Give one of "W_1", "b_1", "W_2", "b_2", "W_3" and "b_3".'
    return "" if answer == "b_1" else "Another group has a mean rate several times as large."


EXERCISES = {
    # Background
    "bg-ex-derivative": Exercise(R(12), mistakes=((R(8), "That is f(2), the value. The exercise asks for the slope."),
                                                  (R(4), "That is the exponent's rule without its factor."))),
    "bg-ex-quotient": Exercise(_function_with_quotients),
    "bg-ex-error": Exercise(sp.exp(theta) * h / 2, mistakes=((sp.exp(theta) * h, "The Taylor coefficient of h² is f″/2."),
                                                             (sp.exp(theta) * h**2 / 2, "You divided by h, so one power of h is gone."))),
    "bg-ex-flow": Exercise(theta_0 / sp.sqrt(1 + 2 * theta_0**2 * t),
                           mistakes=((theta_0 * sp.exp(-t), "That solves dθ/dt = −θ. The gradient of θ⁴/4 is another one."),)),
    "bg-ex-integral": Exercise(R(1, 2) * a * theta_0**2 * (1 - sp.exp(-2 * a * t)),
                               mistakes=((R(1, 2) * a * theta_0**2 * (1 - sp.exp(-a * t)), "The squared gradient decays twice as fast as θ."),)),
    # Core concepts and the calculus link
    "cl-ex-gradient": Exercise((2 * x * y + y * sp.cos(x * y), x**2 + x * sp.cos(x * y)),
                               mistakes=(((2 * x * y + sp.cos(x * y), x**2 + sp.cos(x * y)), "The chain rule: the inner function is xy."),)),
    "cl-ex-steepest": Exercise(R(-5), mistakes=((R(5), "That is the steepest ascent."), (R(-7), "The direction has to have length 1."))),
    "cl-ex-jacobian": Exercise((1 - 3 * eta, 1 - eta), mistakes=(((R(3), R(1)), "Those are eigenvalues of the Hessian, not of the update."),
                                                                 ((1 + 3 * eta, 1 + eta), "Descent subtracts."))),
    "cl-ex-two-steps": Exercise((1 - eta * a) ** 2, mistakes=((1 - eta * a, "That is the derivative of one step."),
                                                             (2 * (1 - eta * a), "Factors of a chain multiply; they do not add."))),
    "cl-ex-shared": Exercise(R(7), mistakes=((R(6), "The formula has K − r − 1, not K − r, below the line."),
                                            (R(61), "That is what the learner without the shared part needs."))),
    "cl-ex-disagree": Exercise(_same_direction),
    # Gradient descent
    "gd-ex-routine": Exercise(R(10, 23), mistakes=((R(1, 2), "That is right for θ² alone; the cubic term has a slope at 1 too."),)),
    "gd-ex-count": Exercise((R(461), R(65)), tolerance=5e-3, mistakes=(((R(921), R(130)), "The error falls by 10⁸, not its square."),)),
    "gd-ex-decay": Exercise(2 / (lambda_max + gamma), mistakes=((2 / lambda_max, "The new term curves as well."), (2 / (lambda_max * gamma), "Eigenvalues of a sum with γI add."))),
    "gd-ex-momentum": Exercise(_momentum_pair),
    "gd-ex-edge": Exercise(_cycle),
    # The mathematics of meta-learning
    "ml-ex-two-steps": Exercise((1 - 2 * alpha * theta) * (1 - 2 * alpha * phi_1) * phi_2**2,
                                mistakes=(((1 - 2 * alpha * theta) * phi_2**2, "One factor is missing: there are two steps."),
                                          ((1 - 2 * alpha * theta) ** 2 * phi_2**2, "The second factor belongs to the second point of the path."),
                                          (phi_2**2, "That is first-order MAML."))),
    "ml-ex-one-factor": Exercise((1 - a * alpha) ** (1 - k),
                                 mistakes=(((1 - a * alpha) ** (k - 1), "That is the other way round: it takes the demonstration's gradient to the right one."),
                                           ((1 - a * alpha) ** (-k), "The demonstration has one factor, not none."))),
    "ml-ex-repel": Exercise(R(2, 5), mistakes=((R(2, 3), "That is where the inner loop of the sharp task diverges."),
                                              (R(1, 3), "From there on the sharp task's weight is negative, but not yet the sum."))),
    "ml-ex-agree": Exercise(R(1, 2), mistakes=((R(2, 3), "That is the stability threshold of the sharp task."),
                                              (R(1), "The condition is α(a₁ + a₂) = 2."))),
    "ml-ex-taylor": Exercise((R(5), R(-10)), mistakes=(((R(5), R(-5)), "Pairs: the last gradient has moved by four steps."),
                                                      ((R(5), R(10)), "Descent moves against the gradient: mind the sign."))),
    "ml-ex-disagree": Exercise(_disagreement),
    "ml-ex-envelope": Exercise(a * lam / (a + lam), mistakes=((a * (lam / (a + lam)) ** 2, "That is iMAML's weight; here the outer loss contains the price too."),
                                                             (a / (a + lam), "Right up to λ: ∇V = λ(θ − φ*)."))),
    # Practice
    "pr-ex-threshold": Exercise(R(2, 41), mistakes=((R(1, 41), "The threshold is 2/λ, and λ has the K points' mean in it, not their sum."),
                                                    (R(1), "That is the threshold of the intercept, the flat direction."))),
    "pr-ex-interval": Exercise(R(25_000), mistakes=((R(5_000), "The width goes with the root of n."),)),
    "pr-ex-family": Exercise(_lines),
    "pr-ex-tanh": Exercise(_meta_trained),
    "pr-ex-rates": Exercise(_group_of_rates),
    "pr-ex-break": Exercise(R(1, 20), mistakes=((R(1, 50), "There αλ > 2 for all, yet most learn."), (R(3, 100), "Many, but not most."),
                                                (R(1, 10), "Most, but a smaller rate does it too."))),
    "pr-ex-pool": Exercise(o * p / (c * (p - 1)), mistakes=((o / c, "The pool has work of its own to do: nc/p."),)),
    # Tools and resources
    "tl-ex-passes": Exercise((R(1761), R(3)), mistakes=(((R(3), R(1761)), "The other way round: a forward pass starts from one input."),
                                                        ((R(1761 * 3), R(1761 * 3)), "A pass gives a whole column or a whole row."))),
    "tl-ex-hessian": Exercise((R(1761), R(1761 * 1762 // 2)), mistakes=(((R(1761), R(1761**2)), "The Hessian is symmetric."),
                                                                       ((R(1761**2), R(1761 * 1762 // 2)), "One product gives a whole column."))),
    "tl-ex-truncated": Exercise(a * (1 - a * alpha) ** 3 * theta,
                                mistakes=((a * (1 - a * alpha) ** 4 * theta, "That is MAML, with nothing detached."),
                                          (a * (1 - a * alpha) ** 2 * theta, "That is first-order MAML: the second step is not detached."))),
    "tl-ex-wrong-place": Exercise(-alpha * a**2 * (1 - a * alpha) * theta,
                                  mistakes=((a * (1 - a * alpha) * theta, "That is first-order MAML: there the gradient is detached, not θ."),
                                            (a * (1 - a * alpha) ** 2 * theta, "That is MAML. The straight way is cut here."))),
    "tl-ex-difference": Exercise(_hessian_from_gradients),
    "tl-ex-checkpoints": Exercise((R(10), R(20)), mistakes=(((R(10), R(10)), "The kept iterates and those of one stretch count together."),
                                                           ((R(50), R(52)), "There is a smaller sum in between."))),
    # Trends and challenges
    "out-ex-truncated": Exercise(R(3), mistakes=((R(1), "That is the number of steps differentiated; all five are walked."),
                                                 (R(6), "MAML with m steps has the exponent 2m."), (R(5), "That would be the full gradient."))),
    "out-ex-error": Exercise((1 - a * alpha) ** (t - k) - 1,
                             mistakes=(((1 - a * alpha) ** (t - k), "That is the ratio; the error is what differs from 1."),
                                       ((1 - a * alpha) ** (k - t) - 1, "The full gradient has more factors than the truncated one."))),
    "out-ex-convex": Exercise(_convex_and_then_not),
    "out-ex-even": Exercise((sp.sqrt(3) - 1) / (3 * sp.sqrt(3) - 1),
                            mistakes=(((sp.sqrt(3) + 1) / (3 * sp.sqrt(3) + 1), "The weights are equal there too, but there is a smaller rate."),
                                      (R(1, 2), "There the factors (1 − αa)² are equal; the weights also have the factor a."))),
    "out-ex-attention": Exercise(N / (N + d + 1 + sigma**2),
                                 mistakes=((N / (N + d + 1), "That is the best rate without noise."),
                                           (N / (N + d + 1 + d * sigma**2), "Divide the noise's variance by d as well, as the rest was."))),
    "out-ex-rate": Exercise(R(5, 14), mistakes=((R(1, 2), "That is the best rate for the larger of the two errors, not for the mean of the losses."),
                                                (R(2, 5), "That weighs the errors equally; the loss of the sharp task has the factor 3."))),
    "out-ex-ridge": Exercise(a * (c - b) / b, mistakes=((a * (b - c) / b, "The sign is wrong: a penalty pulls towards 0."),
                                                        ((c - b) / b, "The sharper the inner loss, the larger the penalty must be."))),
    # Recommendation
    "rc-ex-offset": Exercise(noise / tau2, mistakes=((tau2 / noise, "The other way round: the noisier the ratings, the more of them the prior is worth."),
                                                     (noise, "The spread of people's offsets matters too."))),
    "rc-ex-two": Exercise(tau2 - c**2 / (tau2 + noise), mistakes=((tau2 - c**2 / tau2, "That is right for ratings without noise."),
                                                                  (c**2 / (tau2 + noise), "That is what the rating takes away. What is left?"))),
    "rc-ex-steps": Exercise(sp.log(lam / (K + lam)) / sp.log(1 - 2 * alpha),
                            mistakes=((sp.log(lam / (K + lam)) / sp.log(1 - alpha), "The curvature of the mean squared error is 2."),
                                      (sp.log(K / (K + lam)) / sp.log(1 - 2 * alpha), "(1 − 2α)^k is what is left of the way, K/(K + λ) what has been gone."))),
    "rc-ex-taylor": Exercise(k * (k + 1) * alpha**2 / 2, mistakes=((k * alpha, "That is the term without h."),
                                                                   (k * (k - 1) * alpha**2 / 2, "The exponent is −k, not k: mind the signs of the binomial coefficient."))),
    "rc-ex-em": Exercise((s + nu * t) / (n + nu), mistakes=((s / n, "That forgets the word of the ν others."), ((s / n + t) / 2, "The two are weighted with n and ν."),
                                                           (s / (n + nu), "The ν others have something to say: t."))),
    "rc-ex-question": Exercise(_best_question),
    # Language
    "la-ex-slope": Exercise((p - 1) / sp.log(2), mistakes=((p - 1, "That is the slope in natural units, not in bits."),
                                                           (p / sp.log(2), "That is for a letter that did not come."))),
    "la-ex-bits": Exercise((R(3), R(1, 8)), mistakes=(((-sp.log(R(17, 64), 2), R(17, 64)), "Average the bits, not the probabilities."),)),
    "la-ex-posterior": Exercise(R(1, 6), mistakes=((R(3, 10), "That is the frequency, without the prior."), (R(1, 8), "That is the prior, without the counts."))),
    "la-ex-half": Exercise(alpha / (N + alpha), mistakes=((N / (N + alpha), "That is the weight of the frequencies."),)),
    "la-ex-curvature": Exercise((R(1, 4), R(8)), mistakes=(((R(1, 4), R(4)), "The threshold is 2/λ, not 1/λ."),)),
    "la-ex-apart": Exercise(_not_apart),
    # Vision
    "vi-ex-gradient": Exercise((-1 / (1 + sp.exp(z1 - z2)), 1 / (1 + sp.exp(z1 - z2))),
                               mistakes=(((1 / (1 + sp.exp(z2 - z1)), 1 / (1 + sp.exp(z1 - z2))), "Those are the probabilities. Which vector is subtracted?"),
                                         ((1 / (1 + sp.exp(z1 - z2)), -1 / (1 + sp.exp(z1 - z2))), "Sign: the loss falls as the right output grows."))),
    "vi-ex-sharp": Exercise(1 / N, mistakes=((1 / N - 1 / N**2, "That is an entry of the diagonal, not an eigenvalue."), (sp.Integer(1), "The probabilities are 1/N each."))),
    "vi-ex-step": Exercise(1 / (1 + 4 * sp.exp(-alpha / 5)), mistakes=((1 / (1 + 4 * sp.exp(-alpha)), "The loss is a mean over five images."),
                                                                     (R(1, 5), "That is its probability before the step."))),
    "vi-ex-interval": Exercise((R(2, 100), 0.02 * 2.36462425 / sp.sqrt(8)), tolerance=5e-3,
                               mistakes=(((R(2, 100), 0.02 * 2.36462425), "That is the spread of one alphabet. The mean of eight is √8 times as sure."),
                                         ((R(2, 100), 0.02 * 1.959964 / sp.sqrt(8)), "With eight units the normal distribution is too narrow; take Student's t."))),
    "vi-ex-leak": Exercise(_leak),
}
