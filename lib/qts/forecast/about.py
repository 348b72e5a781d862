"""What each forecaster of the job is, in a sentence or two with its source: what its page in MLflow begins with."""

from __future__ import annotations

from collections.abc import Mapping

_CORSI = (
    'F. Corsi, "A simple approximate long-memory model of realized volatility", Journal of Financial Econometrics 7, '
    "2009"
)
_HAR = "Heterogeneous autoregression"
_LOGS = "in logarithms, by least squares, times the mean of variance / fit over the forecasts that have come true"

#: By name in conf. The classes' docstrings have the formulas.
ABOUT: Mapping[str, str] = {
    "naive": (
        "The random walk, the benchmark to beat: the next variance is the last one; the next return has mean 0 and the "
        "variance of all returns so far."
    ),
    "ewma": (
        "RiskMetrics' exponentially weighted average of the variance and of squared returns, decay .94. Source: J.P. "
        "Morgan/Reuters, RiskMetrics technical document, 4th edition, 1996, equation 5.3."
    ),
    "har": (
        f"{_HAR}: the next variance from its means over a day, a week and a month, by least squares. Source: {_CORSI}."
    ),
    "log_har": f"{_HAR} on the variance's means over a day, a week and a month, {_LOGS}. Source: {_CORSI}.",
    "har_rls": (
        f"{_HAR} in logarithms whose coefficients follow the market: recursive least squares with "
        "forgetting, updated by every bar. Sources: R. Plackett, Biometrika 37, 1950; L. Ljung and T. Soederstroem, "
        f"Theory and Practice of Recursive Identification, 1983, section 2.2; {_CORSI}."
    ),
    "har_rs": (
        f"{_HAR} with the day's variance split into the parts from falls and from rises. Source: "
        'A. Patton and K. Sheppard, "Good volatility, bad volatility", Review of Economics and Statistics 97, 2015.'
    ),
    "log_har_rs": (
        f"{_HAR} with the day's variance split into the parts from falls and from rises, {_LOGS}. "
        'Source: A. Patton and K. Sheppard, "Good volatility, bad volatility", Review of Economics and Statistics 97, '
        "2015."
    ),
    "harq": (
        f"{_HAR} whose weight on the last day shrinks with that day's measurement error (realised "
        'quarticity). Source: T. Bollerslev, A. Patton and R. Quaedvlieg, "Exploiting the errors", Journal of '
        "Econometrics 192, 2016."
    ),
    "har_leverage": (
        f"{_HAR} with past falls of the price, scaled by volatility, as regressors, {_LOGS}. After "
        'F. Corsi and R. Reno, "Discrete-time volatility forecasting with persistent leverage effect", Journal of '
        "Business & Economic Statistics 30, 2012."
    ),
    "log_hexp": (
        f"Regression on exponential averages of the variance in place of plain means, {_LOGS}. "
        'Source: T. Bollerslev, B. Hood, J. Huss and L. Pedersen, "Risk everywhere", Review of Financial Studies 31, '
        "2018."
    ),
    "hexp_leverage": (
        "`log_hexp` with past falls of the price, scaled by volatility, as regressors. Sources: Bollerslev, Hood, Huss "
        "and Pedersen, Review of Financial Studies 31, 2018; after Corsi and Reno, Journal of Business & Economic "
        "Statistics 30, 2012."
    ),
    "garch": (
        "GARCH(1,1) by maximum likelihood, its variance times the mean ratio of the proxy to it in training. Source: "
        'T. Bollerslev, "Generalized autoregressive conditional heteroskedasticity", Journal of Econometrics 31, 1986.'
    ),
    "gjr": (
        "GJR-GARCH(1,1,1): falls raise the next variance more than rises. Source: L. Glosten, R. Jagannathan and D. "
        'Runkle, "On the relation between the expected value and the volatility of the nominal excess return on '
        'stocks", Journal of Finance 48, 1993.'
    ),
    "drift": (
        "Random walk of the log price with the mean step of training. Source: R. Hyndman and G. Athanasopoulos, "
        "Forecasting: principles and practice, 3rd edition, 2021, section 5.2."
    ),
    "smoothing": (
        'Exponential smoothing of the log price. Source: J. Muth, "Optimal properties of exponentially weighted '
        'forecasts", JASA 55, 1960.'
    ),
    "local_level": (
        "Local level of the log price by the Kalman filter. Source: J. Durbin and S. J. Koopman, Time Series Analysis "
        "by State Space Methods, 2nd edition, 2012, chapter 2."
    ),
    "local_trend": (
        "Local linear trend of the log price by the Kalman filter. Source: J. Durbin and S. J. Koopman, Time Series "
        "Analysis by State Space Methods, 2nd edition, 2012, section 3.2.1."
    ),
    "theta": (
        'Theta method on the log price. Source: V. Assimakopoulos and K. Nikolopoulos, "The theta model", '
        "International Journal of Forecasting 16, 2000."
    ),
    "damped": (
        'Exponential smoothing of the log price with a damped trend. Source: E. Gardner and E. McKenzie, "Forecasting '
        'trends in time series", Management Science 31, 1985.'
    ),
    "arima": (
        "ARIMA of the log price, its order chosen by KPSS and AICc. Sources: G. Box and G. Jenkins, Time Series "
        'Analysis: Forecasting and Control, 1970; R. Hyndman and Y. Khandakar, "Automatic time series forecasting", '
        "Journal of Statistical Software 27, 2008."
    ),
    "prophet": (
        'Prophet on the log price: piecewise linear trend and seasons. Source: S. Taylor and B. Letham, "Forecasting '
        'at scale", The American Statistician 72, 2018.'
    ),
    "lstm": (
        "One recurrent network (LSTM) for all instruments, with a Student t as forecast. After D. Salinas and others, "
        '"DeepAR", International Journal of Forecasting 36, 2020.'
    ),
    "ensemble": (
        "Theta method, damped trend and ARIMA of the log price, weighted by recent loss. Sources: J. Bates and C. "
        'Granger, "The combination of forecasts", Operational Research Quarterly 20, 1969; J. Stock and M. Watson, '
        "Journal of Forecasting 23, 2004, equation 4."
    ),
}
