"""Ridge against scikit-learn, proportional odds against a plain reference, both as the linear probe of scales."""

import numpy as np
import pytest
import scipy.optimize
from scipy.special import expit
from sklearn.linear_model import Ridge, RidgeCV
from threadpoolctl import threadpool_info, threadpool_limits

from toolkit.corpus.labels import Task
from toolkit.features.layout import LayerFeatures
from toolkit.probe import proportional_odds, ridge
from toolkit.probe.linear_scales import ScaleFitter, predict
from toolkit.probe.registry import PROBES
from toolkit.probe.targets import ALL, scaler_of, targets_of
from toolkit.probe.workers import one_thread

AFFECT = Task("affect", "regression", ("valence", "arousal"), ("valence", "arousal"))
RISK = Task("risk", "ordinal", tuple("1234"), ("risk",))
PENALTIES = np.logspace(-3, 5, 9)


def layer(clips: int, width: int, seed: int = 0) -> LayerFeatures:
    """Columns of very different size that lean on each other, as those of a backbone do."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((clips, width)) @ generator.standard_normal((width, width))
    values = (values * np.logspace(0, 3, width) + 5).astype(np.float32)
    return LayerFeatures("encoder.0", tuple(map(str, range(clips))), values, np.abs(values) + 1)


def numbers(features: LayerFeatures, noise: float = 1.0) -> np.ndarray:
    standard = scaler_of(features.mean)(features.mean)
    generator = np.random.default_rng(1)
    truth = standard[:, :2] + noise * generator.standard_normal((len(standard), 2))
    return np.asarray(truth * [1.0, 30.0] + [4.0, 200.0], dtype=np.float64)


def risks(features: LayerFeatures) -> np.ndarray:
    latent = scaler_of(features.mean)(features.mean)[:, 0] + np.random.default_rng(2).logistic(size=len(features.ids))
    return np.searchsorted([-1.0, 0.5, 2.0], latent).astype(np.int64)


@pytest.mark.parametrize(("clips", "width"), [(120, 30), (40, 90), (120, 2), (3, 90)])
def test_every_strength_is_scikit_learns_ridge(clips: int, width: int) -> None:
    features = layer(clips, width)
    matrix, truth = scaler_of(features.mean)(features.mean), numbers(features)
    coefficients, intercepts = ridge.solve(ridge.tridiagonal(matrix), truth, PENALTIES)
    for number, penalty in enumerate(PENALTIES):
        theirs = Ridge(alpha=penalty, solver="svd").fit(matrix.astype(np.float64), truth)
        np.testing.assert_allclose(coefficients[number].T, theirs.coef_, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(intercepts[number], theirs.intercept_, rtol=1e-6)


def test_one_feature_or_none_that_varies_and_a_penalty_of_nothing() -> None:
    matrix = np.random.default_rng(0).standard_normal((20, 1))
    truth = 3 * matrix + 1
    coefficients, intercepts = ridge.solve(ridge.tridiagonal(matrix), truth, np.array([1e-9, 1e9]))
    np.testing.assert_allclose(coefficients.ravel(), [3, 0], atol=1e-6)
    np.testing.assert_allclose(intercepts.ravel(), [1, truth.mean()], atol=1e-6)
    coefficients, intercepts = ridge.solve(ridge.tridiagonal(np.ones((20, 5))), truth, np.ones(1))
    assert not coefficients.any() and intercepts == pytest.approx(truth.mean())
    twice = np.random.default_rng(0).standard_normal((20, 3)) @ np.ones((3, 3))
    with pytest.raises(np.linalg.LinAlgError, match="penalty of -1 is too small"):
        ridge.solve(ridge.tridiagonal(twice), truth, np.array([-1.0]))


def test_the_best_strength_is_that_of_scikit_learns_ridgecv() -> None:
    features = layer(120, 30)
    matrix, truth = scaler_of(features.mean)(features.mean).astype(np.float64), numbers(features, 3.0)
    train, held_out = np.arange(90), np.arange(90, 120)
    coefficients, intercepts = ridge.solve(ridge.tridiagonal(matrix[train]), truth[train], PENALTIES)
    errors = [
        np.square(matrix[held_out] @ own + ahead - truth[held_out]).mean()
        for own, ahead in zip(coefficients, intercepts)
    ]
    theirs = RidgeCV(alphas=PENALTIES, cv=[(train, held_out)], scoring="neg_mean_squared_error").fit(matrix, truth)
    assert PENALTIES[int(np.argmin(errors))] == theirs.alpha_
    assert min(errors) == pytest.approx(-theirs.best_score_, rel=1e-6)


def test_products_are_made_on_one_thread_whatever_was_set() -> None:
    with threadpool_limits(2, "blas"):
        with one_thread():
            assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {1}
        assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {2}


def test_the_probe_is_ridge_on_standardised_features_and_targets() -> None:
    """With a missing number left out of its own target alone."""
    features = layer(120, 30)
    truth = numbers(features)
    truth[5:25, 1] = np.nan
    train, held_out = np.arange(90), np.arange(90, 120)
    fitter = PROBES["linear"].build([features], AFFECT, truth, 0, "cpu")
    settings = [{"C": C, "statistics": "mean", "class_weights": "none"} for C in (0.01, 1.0)]
    fits = list(fitter.search(train, held_out, settings, "round 0"))
    scaler = scaler_of(features.mean[train])
    matrix = scaler(features.mean).astype(np.float64)
    for setting, fit in zip(settings, fits, strict=True):
        for target in range(2):
            own = train[~np.isnan(truth[train, target])]
            theirs = Ridge(alpha=1 / float(setting["C"]), solver="svd").fit(matrix[own], truth[own, target])
            np.testing.assert_allclose(fit.probability[:, target], theirs.predict(matrix[held_out]), rtol=1e-6)
    refit = fitter.refit(train, held_out, settings[0], fits[0].found, "round 0")
    np.testing.assert_allclose(refit.probability, fits[0].probability, rtol=1e-9)
    kept = LayerFeatures("encoder.0", tuple("abc"), features.mean[90:93], features.std[90:93])
    targets = targets_of(AFFECT, truth[train])
    said = targets.probability(PROBES["linear"].apply([kept], refit.model, settings[0], targets), AFFECT, "none")
    np.testing.assert_allclose(said, refit.probability[:3], rtol=1e-9)


def reference(matrix: np.ndarray, level: np.ndarray, C: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Slopes and falling b by scipy, in float64, with thresholds as a first one and gaps."""
    levels, width = int(level.max()) + 1, matrix.shape[1]

    def parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values[:width], values[width] - np.append(0, np.cumsum(np.exp(values[width + 1 :])))

    def objective(values: np.ndarray) -> float:
        slopes, bends = parts(values)
        above = expit(matrix @ slopes[:, None] + bends)
        each = -np.diff(np.column_stack([np.ones(len(level)), above, np.zeros(len(level))]), axis=1)
        return float(-np.log(each[np.arange(len(level)), level]).mean() + slopes @ slopes / (2 * C * len(level)))

    start = np.concatenate([np.zeros(width), [1.0], np.zeros(levels - 2)])
    found = scipy.optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000})
    return *parts(found.x), found.fun


def test_proportional_odds_are_those_of_a_plain_reference() -> None:
    features = layer(300, 6)
    matrix, level = scaler_of(features.mean)(features.mean).astype(np.float64), risks(features)
    strengths = (1e-3, 0.1, 100.0)
    for C, own in zip(strengths, proportional_odds.solve(ridge.decompose(matrix), level, strengths), strict=True):
        slopes, bends, _ = reference(matrix, level, C)
        np.testing.assert_allclose(own.coefficients[:, 0], slopes, atol=1e-4)
        np.testing.assert_allclose(own.intercepts, bends, atol=1e-4)
        assert (np.diff(own.intercepts) < 0).all()


def test_without_a_penalty_they_are_statsmodels_ordered_model() -> None:
    """Figures of statsmodels 0.15.0: OrderedModel(level, matrix, distr="logit").fit(method="bfgs", gtol=1e-9), its
    thresholds by `transform_threshold_params`, and `llf`."""
    features = layer(300, 6)
    matrix, level = scaler_of(features.mean)(features.mean).astype(np.float64), risks(features)
    (own,) = proportional_odds.solve(ridge.decompose(matrix), level, [1e9])
    theirs = [1.6565902, 0.13761483, -3.35463259, 1.48272433, -0.65274057, 3.22560433]
    np.testing.assert_allclose(own.coefficients[:, 0], theirs, atol=2e-4)
    np.testing.assert_allclose(-own.intercepts, [-0.70522999, 0.575194, 2.04276403], atol=1e-4)
    targets = targets_of(RISK, level)
    given = predict(matrix.astype(np.float32), own, targets)[np.arange(300), level]
    assert np.log(given).sum() == pytest.approx(-372.09236828, abs=1e-5)


def test_two_levels_are_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    features = layer(200, 5)
    matrix = scaler_of(features.mean)(features.mean).astype(np.float64)
    level = (risks(features) > 1).astype(np.int64)
    (own,) = proportional_odds.solve(ridge.decompose(matrix), level, [0.5])
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(matrix, level)
    np.testing.assert_allclose(own.coefficients[:, 0], theirs.coef_[0], atol=1e-5)
    np.testing.assert_allclose(own.intercepts, theirs.intercept_, atol=1e-5)


@pytest.mark.parametrize("width", [8, 300], ids=["tall", "wide"])
def test_strengths_side_by_side_are_those_alone_and_the_probabilities_are_whole(width: int) -> None:
    features = layer(150, width)
    level = risks(features)
    fitter = ScaleFitter(features, RISK, level)
    train, held_out = np.arange(120), np.arange(120, 150)
    settings = [{"C": C, "statistics": "both", "class_weights": "none"} for C in (1e-5, 1e-2, 1e3)]
    together = fitter.search(train, held_out, settings, "round 0")
    alone = [fitter.search(train, held_out, [setting], "round 1")[0] for setting in settings]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.probability, other.probability, atol=2e-3)
        assert (one.probability >= 0).all() and one.probability.sum(axis=1) == pytest.approx(1)
    flat = np.bincount(level[train], minlength=4) / 120
    np.testing.assert_allclose(together[0].probability.mean(axis=0), flat, atol=0.1)


def test_a_level_that_training_lacks_has_no_probability() -> None:
    features = layer(150, 8)
    level = risks(features)
    train = np.flatnonzero(level != 2)
    fit = ScaleFitter(features, RISK, level).refit(
        train, np.arange(20), {"C": 1.0, "statistics": "mean", "class_weights": "none"}, {ALL: len(train)}, "round 0"
    )
    assert (fit.probability[:, 2] == 0).all() and fit.probability.sum(axis=1) == pytest.approx(1)
    targets = targets_of(RISK, level[train])
    scaler = scaler_of(features.mean[train])
    solution = proportional_odds.solve(
        ridge.decompose(scaler(features.mean[train])), targets.columns.argmax(axis=1), [1.0]
    )[0]
    np.testing.assert_allclose(
        predict(scaler(features.mean[:20]), solution, targets), fit.probability[:, [0, 1, 3]], atol=1e-6
    )
