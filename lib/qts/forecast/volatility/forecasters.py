"""The volatility models in the forecast job: fitted now and then, forecasts after every bar."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from qts.forecast.base import CannotFit, Params
from qts.forecast.ewma import Ewma
from qts.forecast.history import History
from qts.forecast.memory import KEPT, START, Memory
from qts.forecast.scale import ScaleForecaster
from qts.forecast.volatility import har
from qts.forecast.volatility.garch import GarchFit, fit_garch
from qts.forecast.volatility.measures import Measures
from qts.forecast.volatility.regression import FEWEST, Coefficients
from qts.market.bar import Array

_FEWEST_RETURNS = 100
_MOST_HOLES = 0.5  # share of training bars without a measure that a model needs


def measures_of(history: History, memory: Memory | None = None) -> Measures:
    """A history as realised measures; a bar without semivariances or quarticity gets neutral ones.

    Neutral are half of the variance each, and the quarticity of a normal day, the variance squared.
    """
    variance = history.variance
    half = variance / 2
    return Measures(
        variance,
        history.returns,
        _filled(history.semivariance_minus, half),
        _filled(history.semivariance_plus, half),
        _filled(history.quarticity, variance**2),
        memory,
    )


def _filled(values: Array | None, neutral: Array) -> Array:
    if values is None:
        return neutral
    return np.where(np.isfinite(values) & (values >= 0), values, neutral)


class RegressionForecaster(ScaleForecaster):
    """A model of `qts.forecast.volatility.har`, with the coefficients of the training window.

    In logarithms the forecast of the variance is exp(fit) times the mean of exp(error) in training (N. Duan, "Smearing
    estimate", JASA 78, 1983). The usual lognormal correction exp(var(error) / 2) supposes normal errors: for bars of
    one print the proxy is a squared return, whose logarithm is far from normal, and the correction would be about 3.3
    times too large.

    The target `return` has mean 0 and this variance, times the ratio of squared returns to it in training: realised
    variance leaves out the time when a market is closed.
    """

    simpler: ClassVar[type[ScaleForecaster] | None] = Ewma
    #: Bars that it takes to fit to: those of its longest average, and 60 for a handful of coefficients.
    bars: ClassVar[int] = KEPT + FEWEST
    rescaled: ClassVar[bool] = True
    model: ClassVar[har.Regression]
    #: Columns of the history that must be known on most training bars.
    measured: ClassVar[tuple[str, ...]] = ()

    def coefficients(self, history: History) -> dict[str, Any]:
        """The least squares coefficients as `beta`, intercept first."""
        if history.length[0] < self.bars:
            raise CannotFit(f"{history.length[0]} bars, {self.bars} needed")
        for name in self.measured:
            values = getattr(history, name)
            if values is None or np.isfinite(values).mean() < 1 - _MOST_HOLES:
                raise CannotFit(f"most bars have no {name}")
        last = len(history.variance) - 1
        if np.ptp(history.variance[:, 0]) == 0:
            raise CannotFit("the variance is constant")
        with np.errstate(over="ignore", invalid="ignore"):
            beta = self.model.fit(measures_of(history), np.array([last])).beta[0, 0]
        if not np.isfinite(beta).all():
            raise CannotFit("its variances are too large to square")
        return {"beta": [float(b) for b in beta]}

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The fitted variance, at least the floor, for both targets."""
        beta = np.array([p["beta"] for p in params], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            scale = self.model.guarded(Coefficients(np.array([0]), beta[None]), measures_of(history, memory))
        scale = np.maximum(scale, history.floor)
        return scale, scale


class LogHar(RegressionForecaster):
    """HAR in logarithms (Corsi, 2009; Andersen, Bollerslev and Diebold, 2007)."""

    name: ClassVar[str] = "log_har"
    model: ClassVar[har.Regression] = har.LOG_HAR


class Har(RegressionForecaster):
    """HAR in levels (Corsi, 2009)."""

    name: ClassVar[str] = "har"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    model: ClassVar[har.Regression] = har.HAR


class LogHexp(RegressionForecaster):
    """HAR in logarithms on exponential averages (Bollerslev, Hood, Huss and Pedersen, 2018)."""

    name: ClassVar[str] = "log_hexp"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    bars: ClassVar[int] = START + FEWEST
    model: ClassVar[har.Regression] = har.LOG_HEXP


class LogHarRs(RegressionForecaster):
    """HAR in logarithms with the day's variance split into falls and rises (Patton and Sheppard, 2015)."""

    name: ClassVar[str] = "log_har_rs"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    model: ClassVar[har.Regression] = har.LOG_HAR_RS
    measured: ClassVar[tuple[str, ...]] = ("semivariance_minus", "semivariance_plus")


class HarRs(RegressionForecaster):
    """HAR in levels with the day's variance split into falls and rises (Patton and Sheppard, 2015)."""

    name: ClassVar[str] = "har_rs"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    model: ClassVar[har.Regression] = har.HAR_RS
    measured: ClassVar[tuple[str, ...]] = ("semivariance_minus", "semivariance_plus")


class Harq(RegressionForecaster):
    """HAR whose weight on the last day shrinks with its measurement error (Bollerslev, Patton and Quaedvlieg, 2016)."""

    name: ClassVar[str] = "harq"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    model: ClassVar[har.Regression] = har.HARQ
    measured: ClassVar[tuple[str, ...]] = ("quarticity",)


class HarLeverage(RegressionForecaster):
    """HAR in logarithms with past falls of the price, after Corsi and Reno (2012); see `measures.falls`."""

    name: ClassVar[str] = "har_leverage"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    model: ClassVar[har.Regression] = har.HAR_LEVERAGE


class HexpLeverage(RegressionForecaster):
    """`LogHexp` with past falls of the price, as `HarLeverage` has them."""

    name: ClassVar[str] = "hexp_leverage"
    simpler: ClassVar[type[ScaleForecaster] | None] = LogHar
    model: ClassVar[har.Regression] = har.HEXP_LEVERAGE


class GarchForecaster(ScaleForecaster):
    """The conditional variance of returns; the next variance is it times their mean ratio in training."""

    simpler: ClassVar[type[ScaleForecaster] | None] = Ewma
    rescaled: ClassVar[bool] = True

    @property
    @abstractmethod
    def asymmetric(self) -> bool:
        """Whether falls count more than rises."""

    def coefficients(self, history: History) -> dict[str, Any]:
        """omega, alpha, gamma, beta, log_likelihood and backcast, see `GarchFit`."""
        returns = history.returns[:, 0]
        if len(returns) < _FEWEST_RETURNS:
            raise CannotFit(f"{len(returns)} bars, {_FEWEST_RETURNS} needed")
        with np.errstate(over="ignore"):
            scale = np.mean(returns**2)
        if not 0 < scale < np.inf:
            raise CannotFit("the price never moves" if scale == 0 else "returns are too large to square")
        return fit_garch(returns, asymmetric=self.asymmetric)._asdict()

    def scales(self, params: Sequence[Params], history: History, memory: Memory) -> tuple[Array, Array]:
        """The conditional variance of the next return, at least the floor, for both targets."""
        scale, before = np.full(history.returns.shape, np.nan), memory.before("variance")
        for n, p in enumerate(params):
            fit = GarchFit(*(p[name] for name in GarchFit._fields))
            returns = history.returns[: history.length[n], n]
            with np.errstate(over="ignore"):
                found = fit.variances(returns)[1:] if before is None else fit.following(returns, before[n])
            scale[: len(returns), n] = found
        scale = np.maximum(memory.keep("variance", scale), history.floor)
        return scale, scale


class Garch(GarchForecaster):
    """GARCH(1,1) (Bollerslev, 1986)."""

    name: ClassVar[str] = "garch"
    asymmetric = False


class Gjr(GarchForecaster):
    """GJR(1,1): falls raise the next variance more than rises (Glosten, Jagannathan and Runkle, 1993)."""

    name: ClassVar[str] = "gjr"
    asymmetric = True


FORECASTERS: tuple[type[ScaleForecaster], ...] = (
    LogHar,
    Har,
    LogHexp,
    HarRs,
    LogHarRs,
    Harq,
    HarLeverage,
    HexpLeverage,
    Garch,
    Gjr,
)
