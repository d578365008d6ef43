"""What the recommendation page's study has learned of people's tastes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from metacalc.arrays import Array, Integers, PathLike
from metacalc.course.gaussian import GaussianPrior
from metacalc.meta import Learner
from metacalc.models import MLP
from metacalc.studies import load

__all__ = ["N_STEPS", "Taste", "load_taste"]

N_STEPS = 5  # gradient steps that the live figure shows


class Taste(NamedTuple):
    """What the study learned of all people's tastes: a net that MAML has trained to adapt, and a Gaussian prior.

    Attributes
    ----------
    countries : tuple of str
    model : MLP
        Ratings as a function of a one-hot row.
    theta : ndarray, shape (p,)
        Its start.
    alpha, steps : float, int
        Inner rate, and the number of steps that did best on validation people.
    prior : GaussianPrior
    rated : ndarray
        The share of people who rated each cuisine.
    """

    countries: tuple[str, ...]
    model: MLP
    theta: Array
    alpha: float
    steps: int
    prior: GaussianPrior
    rated: Array

    def predict(self, ratings: Mapping[str, float], k: int) -> Array:
        """Ratings of all cuisines expected of somebody, by MAML after k steps and by the posterior mean.

        Parameters
        ----------
        ratings : dict
            Country: rating; may be empty.
        k : int
            Gradient steps.

        Returns
        -------
        ndarray, shape (2, n_items)

        Raises
        ------
        ValueError
            If a country is not among those rated, or a rating is not from 1 to 5.
        """
        unknown = [name for name in ratings if name not in self.countries]
        if unknown:
            raise ValueError(f"ratings must be of some of {', '.join(self.countries)}; got {unknown}")
        y = np.array([list(ratings.values())], float)
        if not np.all((y >= 1) & (y <= 5)):
            raise ValueError(f"ratings must lie between 1 and 5, got {ratings}")
        items = np.array([[self.countries.index(name) for name in ratings]], int)
        return np.array([self.path(items, y, k)[k, 0], self.prior.predict(items, y)[0]])

    def path(self, items: Integers, y: Array, k: int = N_STEPS) -> Array:
        """Predictions (k + 1, n_people, n_items) after 0, ..., k steps; without ratings there is nothing to descend."""
        x = np.eye(len(self.countries))
        if items.shape[1] == 0 or k == 0:
            path = np.broadcast_to(self.theta, (k + 1, len(items), self.theta.size))
        else:
            path = Learner(self.model, self.theta, self.alpha).adapt(x[items], y[..., None], k)
        return self.model.predict(path, x)[..., 0]


def load_taste(path: PathLike) -> Taste:
    """The `Taste` in recommendation.json.

    Parameters
    ----------
    path : path

    Returns
    -------
    Taste
    """
    settings, results = load(path)
    live = results["live"]
    d = len(live["countries"])
    cov = np.zeros((d, d))
    cov[np.triu_indices(d)] = live["cov"]
    cov += np.triu(cov, 1).T
    model = MLP((d, settings["hidden"], 1), activation=settings["activation"])
    return Taste(tuple(live["countries"]), model, np.array(live["theta"]), live["alpha"], live["steps"],
                 GaussianPrior(live["mean"], cov, live["noise"]), np.array(live["rated"]))
