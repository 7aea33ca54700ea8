"""Figures of continual learning from the matrix R[i, j]: the score on the test of stage j after stage i.

Names and formulas as in Lopez-Paz and Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017 (ACC, BWT), and
Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018 (forgetting).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def average_accuracy(scores: Matrix) -> float:
    """ACC: mean over j of R[T, j], with T the last stage."""
    return float(np.mean(_square(scores)[-1]))


def backward_transfer(scores: Matrix) -> float | None:
    """BWT: mean over j < T of R[T, j] - R[j, j]; None with one stage. Negative where something was forgotten."""
    square = _square(scores)
    return float(np.mean(square[-1, :-1] - np.diag(square)[:-1])) if len(square) > 1 else None


def forgetting(scores: Matrix) -> float | None:
    """Mean over j < T of the best R[i, j] with j <= i < T, minus R[T, j]; None with one stage."""
    square = _square(scores)
    if len(square) < 2:
        return None
    best = [float(np.max(square[j:-1, j])) for j in range(len(square) - 1)]
    return float(np.mean(np.array(best) - square[-1, :-1]))


def _square(scores: Matrix) -> Matrix:
    """Raises ValueError unless the matrix is square."""
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(f"a matrix of shape {scores.shape} is no R[i, j]")
    return scores
