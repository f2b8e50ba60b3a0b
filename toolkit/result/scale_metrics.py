"""What is measured of scales: of levels, from how often each was taken for each; of numbers, from sums over clips.

Both are sums, so that all clips and the clips without each speaker cost one subtraction (`jackknife`). NaN where
undefined.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.result.rank_metrics import ratio

FloatArray = npt.NDArray[np.float64]
STILL = 1e-12  # a variance below so much of the mean square is none


def quadratic_weighted_kappa(table: FloatArray) -> FloatArray:
    """1 - sum w O / sum w E with w = (i - j)^2 and E what the margins alone would give; -1 to 1, chance is 0.

    Levels count as equally far apart. Undefined where every clip has one level and is given it.
    Source: Cohen, Weighted kappa, Psychological Bulletin, 1968; scikit-learn, cohen_kappa_score(weights="quadratic").

    Args:
        table: (..., levels, levels) clips by truth and prediction.

    >>> float(quadratic_weighted_kappa(np.array([[2.0, 1, 0], [0, 2, 0], [0, 1, 2]])).round(3))
    0.8
    """
    level = np.arange(table.shape[-1])
    weights = np.square(level[:, None] - level)
    true, given, clips = table.sum(axis=-1), table.sum(axis=-2), table.sum(axis=(-1, -2))
    expected = true[..., :, None] * given[..., None, :]
    observed = (weights * table).sum(axis=(-1, -2)) * clips
    return np.asarray(1 - ratio(observed, (weights * expected).sum(axis=(-1, -2))))


def macro_absolute_error(table: FloatArray) -> FloatArray:
    """The mean over the levels that occur of their clips' mean distance in levels, 0 and more, lower is better.

    Every level counts the same however rare. Source: Baccianella, Esuli and Sebastiani, Evaluation measures for ordinal
    regression, ISDA 2009.

    Args:
        table: As in `quadratic_weighted_kappa`.

    >>> macro_absolute_error(np.array([[8.0, 0, 0], [0, 0, 0], [1, 0, 1]]))
    array(0.5)
    """
    level = np.arange(table.shape[-1])
    sizes = table.sum(axis=-1)
    each = ratio((np.abs(level[:, None] - level) * table).sum(axis=-1), sizes)
    return mean_of_defined(each)


def accuracy_within_one(table: FloatArray) -> FloatArray:
    """Clips whose prediction is their level or the next to it / all clips, 0 to 1.

    Args:
        table: As in `quadratic_weighted_kappa`.

    >>> accuracy_within_one(np.array([[1.0, 1, 2], [0, 0, 0], [0, 0, 0]]))
    array(0.5)
    """
    level = np.arange(table.shape[-1])
    near = np.abs(level[:, None] - level) <= 1
    return ratio((near * table).sum(axis=(-1, -2)), table.sum(axis=(-1, -2)))


def spearman_of_levels(table: FloatArray) -> FloatArray:
    """Spearman's rank correlation of levels, -1 to 1: Pearson's of mid-ranks, equal levels sharing theirs.

    Source: Spearman, American Journal of Psychology, 1904; scipy.stats.spearmanr.

    Args:
        table: As in `quadratic_weighted_kappa`.
    """
    clips = table.sum(axis=(-1, -2))[..., None]
    centred = []
    for axis in (-1, -2):
        sizes = table.sum(axis=axis)
        centred.append(np.cumsum(sizes, axis=-1) - sizes / 2 - clips / 2)  # a mid-rank less the mean rank
    first, second = centred
    joint = (table * first[..., :, None] * second[..., None, :]).sum(axis=(-1, -2))
    squares = (table.sum(axis=-1) * first**2).sum(axis=-1) * (table.sum(axis=-2) * second**2).sum(axis=-1)
    return ratio(joint, np.sqrt(squares))


@dataclass(frozen=True)
class Moments:
    """Sums over the clips that have a target's number; truth and prediction are less the same constant.

    Attributes:
        sums: (..., n_targets, 8) float64: clips, truth, prediction, their squares, their product, absolute and squared
            error.
    """

    sums: FloatArray

    @staticmethod
    def of(columns: FloatArray, targets: int) -> "Moments":
        """From sums of rows of `clip_moments`, (..., 8 targets)."""
        return Moments(columns.reshape(*columns.shape[:-1], targets, 8))

    def _of(self) -> tuple[FloatArray, ...]:
        """Mean truth, mean prediction, their population variances and covariance, (..., n_targets) each."""
        clips, truth, given, truth_2, given_2, joint = np.moveaxis(self.sums, -1, 0)[:6]
        mean, other = ratio(truth, clips), ratio(given, clips)
        covariance = ratio(joint, clips) - mean * other
        variances = []
        for square, centre in ((ratio(truth_2, clips), mean), (ratio(given_2, clips), other)):
            variance = square - centre**2
            variances.append(np.where(variance > STILL * square, variance, np.where(np.isnan(square), np.nan, 0.0)))
        return mean, other, *variances, np.where(variances[1] > 0, covariance, variances[1])


def clip_moments(truth: FloatArray, prediction: FloatArray) -> FloatArray:
    """What each clip adds to `Moments`, (n_clips, 8 targets). truth, prediction: (n_clips, targets), NaN for none."""
    known = ~np.isnan(truth)
    clips = known.sum(axis=0)
    centre = np.where(known, truth, 0.0).sum(axis=0) / np.maximum(clips, 1)
    true, given = (np.where(known, values - centre, 0.0) for values in (truth, prediction))
    error = given - true
    columns = (known, true, given, true**2, given**2, true * given, np.abs(error), error**2)
    return np.stack(columns, axis=-1).astype(np.float64).reshape(len(truth), -1)


def concordance_correlation(moments: Moments) -> FloatArray:
    """CCC: 2 cov / (var truth + var prediction + (mean truth - mean prediction)^2), population moments; -1 to 1.

    1 only where prediction equals truth: unlike Pearson's it charges a wrong unit and offset. A constant prediction has
    0. Source: Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics, 1989.

    Args:
        moments: Of any leading shape (...).

    Returns:
        (..., n_targets); NaN where neither varies and both are equal, or where there is no clip.
    """
    mean, other, variance, other_variance, covariance = moments._of()
    return ratio(2 * covariance, variance + other_variance + np.square(mean - other))


def pearson(moments: Moments) -> FloatArray:
    """Pearson's correlation, -1 to 1, (..., n_targets); undefined where either does not vary. scipy.stats.pearsonr."""
    _, _, variance, other_variance, covariance = moments._of()
    return ratio(covariance, np.sqrt(variance * other_variance))


def mean_absolute_error(moments: Moments) -> FloatArray:
    """Mean of |prediction - truth| in the target's unit, (..., n_targets), lower is better."""
    return ratio(moments.sums[..., 6], moments.sums[..., 0])


def root_mean_squared_error(moments: Moments) -> FloatArray:
    """Root of the mean squared error in the target's unit, (..., n_targets), lower is better."""
    return np.asarray(np.sqrt(ratio(moments.sums[..., 7], moments.sums[..., 0])))


def r_squared(moments: Moments) -> FloatArray:
    """1 - squared error / squared deviation of the truth from its mean, up to 1; scikit-learn's r2_score.

    0 is what the mean of these very clips scores. (..., n_targets); undefined where the truth does not vary.
    """
    clips, (_, _, variance, _, _) = moments.sums[..., 0], moments._of()
    return np.asarray(1 - ratio(moments.sums[..., 7], clips * variance))


def mean_of_defined(values: FloatArray) -> FloatArray:
    """The mean over the last axis of what is defined."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
