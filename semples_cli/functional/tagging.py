"""Which classes an image shows, from CLIP's cosines: margins, and a threshold that the margins themselves set.

Letters: N images, F classes, T texts: those of the classes first, then those of background words.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

# A group narrower than this share of the whole spread would draw everything to itself.
NARROWEST = 1e-3
MOST_STEPS = 500


@dataclass(frozen=True)
class TwoGroups:
    """Two normal distributions fitted to margins: below, of classes that are not there; above, of those that are.

    Attributes:
        threshold: Where a margin belongs to either with equal probability.
        share: Share of the upper group, 0 to 1.
        separation: Distance of the means in units of the common spread, Ashman's D (1994): sqrt(2)·|m1 - m0| /
            sqrt(s0² + s1²). Below 2, the groups cannot be told apart.
    """

    threshold: float
    share: float
    separation: float


def text_margins(cosines: Floats, num_classes: int) -> Floats:
    """How far each class's cosine lies above the mean of all texts of the same image.

    A CLIP that is trained by a softmax over a batch learns what differs between texts, so an image's cosines may share
    an offset that says nothing of its content; the mean takes it out.

    Args:
        cosines: (N, T) between each image and each text, in [-1, 1].
        num_classes: F.

    Returns:
        (N, F) in [-2, 2].

    >>> text_margins(np.array([[0.75, 0.25, 0.25, 0.25]]), 2).round(3)
    array([[ 0.375, -0.125]])
    """
    margins: Floats = cosines[:, :num_classes] - cosines.mean(axis=1, keepdims=True)
    return margins


def fit_two_groups(values: Floats) -> TwoGroups | None:
    """Fit a mixture of two normal distributions by expectation maximisation, begun at the middle of the range.

    Args:
        values: Any shape; the margins of all images and classes.

    Returns:
        The fit; None where the values do not fall into two groups at all, as when all are equal.

    >>> fit = fit_two_groups(np.array([0.0, 0.1, 0.2, 0.1, 0.9, 1.0]))
    >>> round(fit.share, 3), 0.2 < fit.threshold < 0.9
    (0.333, True)
    """
    flat = values.ravel().astype(np.float64)
    if flat.size == 0 or not np.ptp(flat) > 0:
        return None
    upper = (flat > (flat.min() + flat.max()) / 2).astype(np.float64)
    narrowest = NARROWEST * flat.std()
    for _ in range(MOST_STEPS):
        share, means, widths = _moments(flat, upper, narrowest)
        before, upper = upper, 1 / (1 + np.exp(np.clip(-_log_odds(flat, share, means, widths), -700, 700)))
        if not 0 < upper.sum() < len(flat):
            return None
        if np.abs(upper - before).max() < 1e-6:
            break
    share, means, widths = _moments(flat, upper, narrowest)
    separation = float(np.sqrt(2) * abs(means[1] - means[0]) / np.hypot(*widths))
    return TwoGroups(_crossing(share, means, widths), share, separation)


def _moments(flat: Floats, upper: Floats, narrowest: float) -> tuple[float, Floats, Floats]:
    """Share of the upper group, and means and widths of both, lower one first."""
    weights = np.stack([1 - upper, upper])
    sums = weights.sum(axis=1)
    means = weights @ flat / sums
    widths = np.sqrt((weights * (flat - means[:, None]) ** 2).sum(axis=1) / sums)
    return float(sums[1] / len(flat)), means, np.maximum(widths, narrowest)


def _log_odds(values: Floats, share: float, means: Floats, widths: Floats) -> Floats:
    """Logarithm of how much likelier the upper group is than the lower one."""
    distances = (values[None] - means[:, None]) / widths[:, None]
    log_densities = -0.5 * distances**2 - np.log(widths)[:, None]
    odds: Floats = log_densities[1] - log_densities[0] + np.log(share / (1 - share))
    return odds


def _crossing(share: float, means: Floats, widths: Floats) -> float:
    """Where the odds are even between the two means, by halving; one of the means where they never are."""
    low, high = float(means.min()), float(means.max())
    for _ in range(60):
        middle = (low + high) / 2
        if _log_odds(np.array([middle]), share, means, widths)[0] > 0:
            high = middle
        else:
            low = middle
    return (low + high) / 2
