"""Which candidates a person is shown, and which of them first."""

from dataclasses import dataclass, field

import numpy as np

from gmadet_nb.errors import BadParameterError

ORDERS = (
    "auto",
    "unlabeled",
    "score",
    "threshold",
    "disagreement",
    "suspects",
    "query",
    "random",
)
# In these, what a labeler has labelled comes after all else.
_LABELED_LAST = ("auto", "unlabeled", "suspects", "query")
# The query looks among so many pages of candidates nearest to the threshold.
_POOL_PAGES = 6


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of candidates that are to be ordered.

    Attributes
    ----------
    labels : dict
        candidate_id -> this labeler's label.
    others : collection of str
        Candidates that other people have labelled.
    auto_labels : dict
        candidate_id -> the automatic label.
    scores : dict
        candidate_id -> score; candidates without one come last where scores order.
    threshold : float
        On the score.
    suspects : sequence of str
        Candidates whose labels the model doubts, most doubted first.
    features : dict
        candidate_id -> (n,) array of numbers, for the query.
    """

    labels: dict = field(default_factory=dict)
    others: set = field(default_factory=set)
    auto_labels: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)
    threshold: float = 0.5
    suspects: tuple = ()
    features: dict = field(default_factory=dict)

    def done(self, candidate_id):
        """Return how little is left to say.

        0 without any label, 1 with an automatic one, 2 where somebody else has said
        something, 3 with this labeler's own.
        """
        if candidate_id in self.labels:
            return 3
        if candidate_id in self.others:
            return 2
        return 1 if self.auto_labels.get(candidate_id) in ("real", "bogus") else 0

    def score_of(self, ids):
        """Return the scores of candidates, NaN where there is none."""
        return np.array([self.scores.get(key, np.nan) for key in ids], dtype=float)


def describe_opening(order, n_labeled, n_total):
    """Return where a session that goes on opens, in words; "" where one begins.

    Parameters
    ----------
    order : str
        One of `ORDERS`.
    n_labeled : int
        Candidates that this labeler has labelled before, of
    n_total : int
        those that the session shows.
    """
    if not n_labeled:
        return ""
    if n_labeled >= n_total:
        return f"all {n_labeled} were labelled before"
    if order in _LABELED_LAST:
        return f"{n_labeled} labelled before: they come last now, the open ones first"
    return f"{n_labeled} labelled before: going on at the first page with open ones"


def order_candidates(ids, order, known, *, page_size, rng=None):
    """Put candidates in the order in which they are to be labelled.

    Parameters
    ----------
    ids : list of str
        In the order of the run.
    order : str
        "unlabeled": those without any label first, then those with an automatic one
        only, then those of other people, then those this labeler has labelled.
        "score": highest first. "threshold": nearest to the threshold first.
        "disagreement": a high score with the label bogus, or a low one with real,
        first. "suspects": those named that this labeler has not labelled, in that
        order, then as "unlabeled". "auto": the same, of those suspects that the session
        has been given. "query": near the threshold and unlike each other,
        page by page, what is labelled last. "random": shuffled.
    known : Known
    page_size : int
    rng : numpy.random.Generator, optional
        For "random".

    Returns
    -------
    ids : list of str

    Raises
    ------
    BadParameterError
        If there is no such order, or "random" has no generator.
    """
    if order not in ORDERS:
        raise BadParameterError(
            f"The order of labelling must be one of {ORDERS}, got {order!r}."
        )
    if order == "random":
        if rng is None:
            raise BadParameterError('The order "random" needs an rng.')
        return [ids[i] for i in rng.permutation(len(ids))]
    if order == "query":
        return _query(ids, known, page_size)
    if order in ("auto", "unlabeled", "suspects"):
        last = len(known.suspects)
        rank = {key: i for i, key in enumerate(known.suspects)}
        rank = {} if order == "unlabeled" else rank
        rank = {key: i for key, i in rank.items() if key not in known.labels}
        return sorted(ids, key=lambda key: (rank.get(key, last), known.done(key)))
    score = known.score_of(ids)
    if order == "threshold":
        wanted = -np.abs(score - known.threshold)
    elif order == "disagreement":
        wanted = _disagreement(ids, score, known)
    else:
        wanted = score
    return [ids[i] for i in np.argsort(-wanted, kind="stable")]


def _disagreement(ids, score, known):
    """Return how far the score is from the label in force; NaN without both."""
    label = [known.labels.get(key, known.auto_labels.get(key)) for key in ids]
    truth = np.array([{"real": 1.0, "bogus": 0.0}.get(word, np.nan) for word in label])
    return np.abs(score - truth)


def _query(ids, known, page_size):
    """Order by what a label would teach: uncertain, and not another of the same.

    Each page is drawn from the open candidates nearest to the threshold: the nearest
    one first, then always the one that is farthest from those already on the page
    (k-center greedy; Sener & Savarese 2018, ICLR), in numbers brought to one scale.
    """
    score = known.score_of(ids)
    finished = np.array([known.done(key) == 3 for key in ids], dtype=bool)
    near = np.argsort(np.abs(score - known.threshold), kind="stable")
    left = [i for i in near if not finished[i]]
    place = _scaled(ids, known.features)
    chosen = []
    # Beyond these pages nobody labels in one sitting.
    while left and len(chosen) < _POOL_PAGES * page_size:
        pool = np.array(left[: _POOL_PAGES * page_size])
        page = [pool[0]]
        distance = np.full(len(pool), np.inf)
        for _ in range(min(page_size, len(pool)) - 1):
            step = ((place[pool] - place[page[-1]]) ** 2).sum(axis=1)
            distance = np.minimum(distance, step)
            distance[pool == page[-1]] = -1
            page.append(pool[int(np.argmax(distance))])
        chosen += page
        taken = set(page)
        left = [i for i in left if i not in taken]
    done = [i for i in near if finished[i]]
    return [ids[i] for i in [*chosen, *left, *done]]


def _scaled(ids, features):
    """Return the numbers of candidates in units of their scatter, (n, m)."""
    n = len(next(iter(features.values()))) if features else 1
    place = np.array([features.get(key, np.full(n, np.nan)) for key in ids], float)
    place = np.where(np.isfinite(place), place, np.nan)
    if not len(place):
        return place
    low, middle, high = (
        np.array([np.nanquantile(c, q) if np.isfinite(c).any() else 0 for c in place.T])
        for q in (0.16, 0.5, 0.84)
    )
    scale = np.where(high > low, (high - low) / 2, 1)
    return np.clip(np.nan_to_num((place - middle) / scale), -5, 5)
