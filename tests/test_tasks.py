"""Task distributions: what they draw is what they say, reproducibly, and nothing leaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metacalc.course.gaussian import GaussianPrior
from metacalc.models import MLP, Quadratic
from metacalc.tasks import Batch, FewShotClassification, Pooled, Quadratics, Sinusoids, nearest_mean
from metacalc.tasks.base import distinct

N_CLASSES, PER_CLASS = 12, 9


def labelled():
    """Examples whose first feature is their class and whose second is their own number."""
    labels = np.repeat(np.arange(N_CLASSES), PER_CLASS)
    x = np.stack([labels, np.arange(len(labels))], axis=1).astype(float)
    order = np.random.default_rng(9).permutation(len(x))
    return x[order], labels[order]


def rng(seed=0):
    return np.random.default_rng(seed)


DISTRIBUTIONS = [Quadratics(), Quadratics(d=3), Sinusoids(), Pooled(*labelled()), FewShotClassification(*labelled(), 3, 2, 4)]


@pytest.mark.parametrize("tasks", DISTRIBUTIONS, ids=repr)
def test_same_generator_state_same_tasks(tasks):
    one, same, other = (tasks.sample(rng(seed), 6) for seed in (1, 1, 2))
    for field in ("x_support", "y_support", "x_query", "y_query"):
        np.testing.assert_array_equal(getattr(one, field), getattr(same, field))
    assert not np.array_equal(one.x_query, other.x_query)
    assert len(one) == 6 and len(one[1:3]) == 2
    np.testing.assert_array_equal(one[[4, 0]].y_query, one.y_query[[4, 0]])
    assert len(tasks.sample(rng(), 1)) == 1


@pytest.mark.parametrize("which", [0, [0.5], [[0, 1]], "first", None])
def test_a_part_of_a_batch_is_a_slice_or_indices(which):
    with pytest.raises(ValueError, match="^tasks must be a slice or a list of indices"):
        Quadratics().sample(rng(), 3)[which]


@pytest.mark.parametrize("tasks", DISTRIBUTIONS, ids=repr)
@pytest.mark.parametrize("n_tasks", [0, -1, 2.0, True])
def test_number_of_tasks_is_checked(tasks, n_tasks):
    with pytest.raises(ValueError, match="^n_tasks must be"):
        tasks.sample(rng(), n_tasks)


def test_sinusoids_are_sines_of_the_papers_ranges():
    batch = Sinusoids(k_shots=30, n_query=20).sample(rng(), 4000)
    assert batch.x_support.shape == (4000, 30, 1) and batch.y_query.shape == (4000, 20, 1)
    assert np.abs(batch.x_support).max() <= 5 and np.abs(batch.x_query).max() <= 5
    assert batch.x_query.mean() == pytest.approx(0, abs=0.05)
    # y = (A cos φ) sin x − (A sin φ) cos x: fit it on the support set, and it holds on the query set.
    features = lambda x: np.concatenate([np.sin(x), -np.cos(x)], axis=-1)
    w = np.linalg.pinv(features(batch.x_support)) @ batch.y_support
    np.testing.assert_allclose(features(batch.x_query) @ w, batch.y_query, atol=1e-9)
    A, phi = np.hypot(w[:, 0, 0], w[:, 1, 0]), np.arctan2(w[:, 1, 0], w[:, 0, 0])
    assert 0.1 <= A.min() < 0.15 and 4.95 < A.max() <= 5 and A.mean() == pytest.approx(2.55, abs=0.1)
    assert 0 <= phi.min() < 0.02 and np.pi - 0.02 < phi.max() <= np.pi and phi.mean() == pytest.approx(1.57, abs=0.06)


def test_sinusoids_options():
    assert Sinusoids(dtype=np.float32).sample(rng(), 2).y_query.dtype == np.float32
    assert Sinusoids().with_shots(5).sample(rng(), 2).x_support.shape == (2, 5, 1)
    fixed = Sinusoids(amplitude=(2, 2), phase=(1, 1)).sample(rng(), 3)
    np.testing.assert_allclose(fixed.y_query, 2 * np.sin(fixed.x_query - 1))


def test_quadratics_have_the_curvatures_asked_for():
    batch = Quadratics(d=3, curvature=(0.5, 4.0), spread=2.0).sample(rng(), 3000)
    eigenvalues = np.linalg.eigvalsh(batch.x_support)
    assert 0.5 <= eigenvalues.min() < 0.51 and 3.99 < eigenvalues.max() <= 4
    assert batch.y_support.std() == pytest.approx(2, rel=0.03)
    np.testing.assert_array_equal(batch.x_support, batch.x_query)
    # No direction is preferred: the mean of A is a multiple of the identity.
    np.testing.assert_allclose(batch.x_support.mean(0), 2.25 * np.eye(3), atol=0.08)
    Quadratic(3).loss(np.zeros(3), batch.x_support, batch.y_support)  # symmetric enough for the model


@settings(max_examples=30, deadline=None)
@given(n_way=st.integers(2, 5), k_shots=st.integers(1, 4), n_query=st.integers(1, 5), seed=st.integers(0, 99))
def test_few_shot_tasks_are_consistent(n_way, k_shots, n_query, seed):
    x, labels = labelled()
    batch = FewShotClassification(x, labels, n_way, k_shots, n_query).sample(rng(seed), 5)
    assert batch.x_support.shape == (5, n_way * k_shots, 2) and batch.y_query.shape == (5, n_way * n_query)
    for xs, ys, xq, yq in zip(batch.x_support, batch.y_support, batch.x_query, batch.y_query):
        examples = np.concatenate([xs[:, 1], xq[:, 1]])
        assert len(set(examples)) == len(examples)                              # nothing drawn twice
        assert np.bincount(ys).tolist() == [k_shots] * n_way and np.bincount(yq).tolist() == [n_query] * n_way
        classes = [set(xs[ys == c, 0]) | set(xq[yq == c, 0]) for c in range(n_way)]
        assert all(len(c) == 1 for c in classes) and len(set.union(*classes)) == n_way


def test_split_leaks_no_class():
    x, labels = labelled()
    train, test = FewShotClassification(x, labels, 3, 2, 4).split([0, 5, 7, 11])
    assert test.classes.tolist() == [0, 5, 7, 11] and set(train.classes) == set(range(12)) - {0, 5, 7, 11}
    seen = [set(), set()]
    for side, tasks in enumerate((train, test)):
        batch = tasks.sample(rng(3), 200)
        seen[side] = set(np.unique(batch.x_support[..., 0])) | set(np.unique(batch.x_query[..., 0]))
    assert seen[0] == set(range(12)) - {0, 5, 7, 11} and seen[1] == {0, 5, 7, 11}


def test_few_shot_draws_are_uniform_and_labels_are_shuffled():
    x, labels = labelled()
    batch = FewShotClassification(x, labels, 4, 2, 3).sample(rng(5), 6000)
    drawn = np.bincount(batch.x_support[..., 1].astype(int).ravel(), minlength=len(x))
    expected = 6000 * 4 * 2 / len(x)
    assert ((drawn - expected) ** 2 / expected).sum() < 160                     # χ² with 107 degrees, 99.9%
    first = batch.x_support[:, 0, 0].astype(int)                                # the class that is called 0
    counts = np.bincount(first, minlength=N_CLASSES)
    assert ((counts - 500) ** 2 / 500).sum() < 32                               # χ² with 11 degrees, 99.9%


def test_distinct_is_a_random_ordered_choice():
    draws = distinct(rng(), np.full(24000, 4), 2)
    pairs, counts = np.unique(draws, axis=0, return_counts=True)
    assert len(pairs) == 12 and ((counts - 2000) ** 2 / 2000).sum() < 32
    assert (np.sort(distinct(rng(), np.full(50, 6), 6)) == np.arange(6)).all()


def test_few_shot_takes_words_as_labels_and_unequal_classes():
    x, labels = np.arange(10.0)[:, None], np.array(list("aaabbbbccc"))
    tasks = FewShotClassification(x, labels, n_way=3, k_shots=1, n_query=2).with_shots(1)
    batch = tasks.sample(rng(), 50)
    truth = labels[batch.x_query[..., 0].astype(int)]
    for names, numbers in zip(truth, batch.y_query):
        assert len(set(zip(names, numbers))) == 3
    assert 6.0 in batch.x_query or 6.0 in batch.x_support                       # the fourth b is not left out


@pytest.mark.parametrize("make, message", [
    (lambda: Sinusoids(k_shots=0), "k_shots must be"),
    (lambda: Sinusoids(n_query=0), "n_query must be"),
    (lambda: Sinusoids().with_shots(0), "k_shots must be"),
    (lambda: Sinusoids(amplitude=(5, 0.1)), "amplitude must be"),
    (lambda: Sinusoids(phase=3), "phase must be"),
    (lambda: Sinusoids(x_range=(0, np.inf)), "x_range must be"),
    (lambda: Sinusoids(dtype=int), "dtype must be"),
    (lambda: Quadratics(d=0), "d must be"),
    (lambda: Quadratics(curvature=(0, 1)), "curvature must be"),
    (lambda: Quadratics(curvature=(2, 1)), "curvature must be"),
    (lambda: Quadratics(spread=-1), "spread must be"),
    (lambda: FewShotClassification(*labelled(), n_way=13), "n_way must be"),
    (lambda: FewShotClassification(*labelled(), n_way=1), "n_way must be"),
    (lambda: FewShotClassification(*labelled(), k_shots=0), "k_shots must be"),
    (lambda: FewShotClassification(*labelled(), n_query=0), "n_query must be"),
    (lambda: FewShotClassification(*labelled(), k_shots=5, n_query=5), r"k_shots \+ n_query must be at most 9"),
    (lambda: FewShotClassification(np.full((4, 1), np.nan), [0, 0, 1, 1]), "x must hold finite"),
    (lambda: Pooled(*labelled(), n_examples=1), "n_examples must be"),
    (lambda: Pooled(np.ones((4, 1)), [0, 0, 1]), "labels must have shape"),
    (lambda: FewShotClassification(np.ones(4), [0, 0, 1, 1]), "x must have shape"),
    (lambda: FewShotClassification(np.ones((4, 1)), [0, 0, 1]), "labels must have shape"),
    (lambda: DISTRIBUTIONS[-1].split([99, 0, 1]), "test_classes must be labels"),
    (lambda: DISTRIBUTIONS[-1].split([0, 1]), "test_classes must leave 3 or more classes for meta-testing"),
    (lambda: DISTRIBUTIONS[-1].split(range(10)), "test_classes must leave 3 or more classes for meta-training"),
])
def test_bad_distributions_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_the_smallest_tasks_that_are_promised():
    assert Sinusoids(k_shots=1, n_query=1).sample(rng(), 1).x_query.shape == (1, 1, 1)
    assert len(Batch(*[np.ones((2, 3, 0)), np.ones((2, 3))] * 2)) == 2, "examples of a constant model have no inputs"


@pytest.mark.parametrize("change, message", [
    (dict(x_support=np.ones((3, 0, 1)), y_support=np.ones((3, 0, 1))), "x_support must have shape"),
    (dict(x_support=np.ones(3)), "x_support must have shape"),
    (dict(y_support=np.ones((3, 4, 1))), "y_support must hold 5 examples"),
    (dict(y_query=np.ones((3, 4, 1))), "y_query must hold 5 examples"),
    (dict(x_query=np.ones((2, 5, 1))), "x_query must hold 3 tasks"),
    (dict(y_query=np.full((3, 5, 1), np.nan)), "y_query must hold finite"),
    (dict(x_query=None), "x_query must"),
])
def test_bad_batches_are_refused(change, message):
    arguments = {f: np.ones((3, 5, 1)) for f in ("x_support", "y_support", "x_query", "y_query")} | change
    with pytest.raises(ValueError, match=f"^{message}"):
        Batch(**arguments)


def test_pooled_examples_keep_their_class_s_number():
    x, labels = labelled()
    pool = Pooled(x, labels, n_examples=7)
    batch = pool.sample(rng(2), 500)
    assert batch.x_support.shape == (500, 3, 2) and batch.y_query.shape == (500, 4)
    np.testing.assert_array_equal(batch.y_support, batch.x_support[..., 0])
    np.testing.assert_array_equal(batch.y_query, batch.x_query[..., 0])
    drawn = np.bincount(batch.x_query[..., 1].astype(int).ravel(), minlength=len(x))
    expected = 2000 / len(x)
    assert ((drawn - expected) ** 2 / expected).sum() < 160                     # χ² with 107 degrees, 99.9%
    np.testing.assert_array_equal(Pooled(x, labels.astype(str)).classes, np.unique(labels.astype(str)))


def test_nearest_mean_is_the_nearest_mean():
    x, labels = labelled()
    noise = rng(4).normal(size=(len(x), 6))
    batch = FewShotClassification(noise, labels, 4, 3, 5).sample(rng(5), 20)
    expected = [[min(range(4), key=lambda c: np.linalg.norm(q - xs[ys == c].mean(axis=0))) for q in xq]
                for xs, ys, xq in zip(batch.x_support, batch.y_support, batch.x_query)]
    np.testing.assert_array_equal(nearest_mean(batch.x_support, batch.y_support, batch.x_query), expected)


@pytest.mark.parametrize("call",
                         [lambda: Sinusoids().sample(None, 2), lambda: Quadratics().sample(0, 2),
                          lambda: MLP((1, 2, 1)).init(0)])
def test_chance_comes_from_a_generator(call):
    with pytest.raises(ValueError, match="^rng must be"):
        call()


@pytest.mark.parametrize("call, message", [
    (lambda: Quadratics(spread="a"), "spread"), (lambda: Quadratics(spread=-1), "spread"),
    (lambda: GaussianPrior([0.0], [[1.0]], noise="a"), "noise"),
    (lambda: GaussianPrior([0.0], [[1.0]], noise=None), "noise"),
    (lambda: GaussianPrior.fit(np.ones((2, 2)), strength="a"), "strength"),
])
def test_what_is_no_number_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=f"^{message} must be"):
        call()
