"""A forecaster's model version: one JSON file with the parameters of all instruments, and the code that reads it.

The same file serves the jobs, which take the parameters as they are, and everyone else, as an MLflow pyfunc model. No
pickle is written or read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from qts.forecast.about import ABOUT
from qts.forecast.base import UNFITTED, Params
from qts.forecast.history import FURTHER, History
from qts.forecast.registry import build

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

FILE = "parameters.json"
#: Where a version's files are among the artefacts of its run.
ARTIFACT = "model"
#: What the pyfunc models need of this package; it travels with a version, so that it loads anywhere. The same for all
#: kinds of models: who loads two of them has the code of the first.
_CODE = (
    "__init__.py",
    "errors.py",
    "market/__init__.py",
    "market/bar.py",
    "market/returns.py",
    "forecast",
    "regime",
    "mlops/__init__.py",
    "mlops/bundle.py",
    "mlops/regimes.py",
)
#: Bars of the input example, enough for the slowest model (recursive least squares) to warm up.
_EXAMPLE = 128
_REQUIREMENTS = ("numpy", "scipy", "pandas")
#: How to use a registered model, on its page in MLflow.
USE = """```python
import mlflow

model = mlflow.pyfunc.load_model("models:/{name}@champion")
model.predict(model.input_example)
```

It takes a table of bars and gives another table ({gives}), so it is not for `spark_udf`, which wants a row for a row. \
Hand it the whole history of an instrument. {when} No pickle is loaded, and neither Spark nor this package is needed.

The alias `champion` serves; `challenger` is the newest version that did not take over. Each version says why."""


@dataclass(frozen=True)
class Bundle:
    """Parameters of one forecaster for every instrument that it was fitted to.

    Attributes:
        model: name of the forecaster.
        interval: length of a bar, nanoseconds.
        parameters: by instrument.
        job: the command that makes versions.
        loader: the module whose `_load_pyfunc` MLflow calls.
        requirements: packages that they need.
    """

    job: ClassVar[str] = "qts forecast --once"
    loader: ClassVar[str] = __name__
    requirements: ClassVar[tuple[str, ...]] = _REQUIREMENTS

    model: str
    interval: int
    parameters: Mapping[str, Params]

    def to_json(self) -> str:
        shared = {p["shared"] for p in self.parameters.values() if "shared" in p}
        if len(shared) == 1:  # what all instruments share is written once
            own = {name: {key: v for key, v in p.items() if key != "shared"} for name, p in self.parameters.items()}
            content = {"model": self.model, "interval": self.interval, "parameters": own, "shared": shared.pop()}
        else:
            content = {"model": self.model, "interval": self.interval, "parameters": dict(self.parameters)}
        return json.dumps(content, sort_keys=True, allow_nan=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The bundle in a model version's file of parameters."""
        content = json.loads(path.read_text(encoding="utf-8"))
        if (shared := content.pop("shared", None)) is not None:
            fitted = {name: p for name, p in content["parameters"].items() if "state" in p}
            content["parameters"] |= {name: {**p, "shared": shared} for name, p in fitted.items()}
        return cls(**content)

    def methods(self) -> dict[str, int]:
        """How many instruments got which method in the end."""
        methods = [p["method"] for p in self.parameters.values()]
        return {method: methods.count(method) for method in sorted(set(methods))}

    def example(self) -> pd.DataFrame:
        """Rows that the model can be tried with: bars of an instrument that it knows, up to two behind its training."""
        known = {name: p for name, p in sorted(self.parameters.items()) if p["method"] != UNFITTED}
        name, params = next(iter(known.items()), ("A", {}))
        last = params.get("trained_until", 0) + 2 * self.interval
        bars = np.arange(1 - _EXAMPLE, 1)
        return pd.DataFrame(
            {
                "instrument": name,
                "bar_time": (last + bars * self.interval).astype("datetime64[ns]"),
                "close": 100 * np.exp(0.01 * np.sin(1.7 * bars)),
                "realised_variance": 1e-4 * (1 + 0.5 * np.sin(2.3 * bars)),
            }
        )

    def signature(self) -> ModelSignature:
        """What the model takes and gives."""
        return _signature()

    def card(self, name: str) -> str:
        """What the page of the registered model says, whatever its version: Markdown, below 5000 characters.

        Args:
            name: under which it is registered.
        """
        targets = {"variance": "realised variance", "return": "log return, close to close"}
        told = [text for target, text in targets.items() if target in build([self.model])[self.model].targets]
        use = USE.format(
            name=name,
            gives="two rows a bar, `target` says of what" if len(told) > 1 else "a row a bar",
            when="Forecasts are of the bar after each row. "
            + ("At bars that it was fitted to they are in-sample." if len(told) > 1 else "They begin behind training."),
        )
        return (
            f"Forecasts the next bar of each instrument: its {' and its '.join(told)}, with 80 and 95% intervals. A "
            f"version holds the parameters of all instruments.\n\n**{self.model}**: {ABOUT[self.model]}\n\n{use}"
        )

    def save(self, folder: Path, run_id: str) -> None:
        """Writes an MLflow model of the flavour pyfunc: parameters, code, signature and requirements."""
        from importlib.metadata import version

        import mlflow.pyfunc
        from mlflow.models import Model

        data = folder.with_name("data")
        data.mkdir(parents=True)
        (data / FILE).write_text(self.to_json(), encoding="utf-8")
        code = folder.with_name("code") / "qts"
        package = Path(__file__).resolve().parents[1]
        for part in _CODE:
            if (package / part).is_dir():
                shutil.copytree(package / part, code / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (code / part).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(package / part, code / part)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=self.loader,
            data_path=str(data / FILE),
            code_paths=[str(code)],
            mlflow_model=Model(artifact_path=ARTIFACT, run_id=run_id),
            signature=self.signature(),
            input_example=self.example(),
            pip_requirements=[f"{name}=={version(name)}" for name in self.requirements],
        )


class PyFunc:
    """What `mlflow.pyfunc.load_model` gives: forecasts for a table of bars."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Forecasts of the next bar after each bar.

        Args:
            bars: columns instrument, bar_time, close, realised_variance (NaN where unknown), and where the
                model uses them semivariance_minus, semivariance_plus and quarticity; in any order of rows. Instruments
                that the version does not know get no forecasts.

        Returns:
            instrument, bar_time, target, mean, sd, lower_80, upper_80, lower_95, upper_95.
        """
        names, code = np.unique(bars["instrument"].to_numpy(dtype=object), return_inverse=True)
        times = (
            pd.to_datetime(bars["bar_time"], utc=True).dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)
        )
        close, variance = (bars[name].to_numpy(np.float64) for name in ("close", "realised_variance"))
        further = {name: bars[name].to_numpy(np.float64) for name in FURTHER if name in bars}
        history = History.pack([str(n) for n in names], code, times, close, variance, self.bundle.interval, **further)
        unknown: Params = {"method": UNFITTED}
        params = [self.bundle.parameters.get(name, unknown) for name in history.instruments]
        parts = []
        for target, forecast in build([self.bundle.model])[self.bundle.model].run(params, history)[0].items():
            row, column = np.nonzero(np.isfinite(forecast.mean))
            figures: dict[str, Any] = {name: values[row, column] for name, values in vars(forecast).items()}
            parts.append(
                pd.DataFrame(
                    {
                        "instrument": np.array(history.instruments, dtype=object)[column],
                        "bar_time": pd.to_datetime(history.times[row, column], utc=True).tz_localize(None),
                        "target": target,
                        **figures,
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)


def _load_pyfunc(path: str) -> PyFunc:
    """MLflow's entry point of a loader module."""
    return PyFunc(Bundle.read(Path(path)))


def _signature() -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    def schema(**columns: DataType) -> Schema:
        return Schema([ColSpec(kind, name, required=name not in FURTHER) for name, kind in columns.items()])

    text, time, number = DataType.string, DataType.datetime, DataType.double
    figures = dict.fromkeys(("mean", "sd", "lower_80", "upper_80", "lower_95", "upper_95"), number)
    return ModelSignature(
        schema(
            instrument=text, bar_time=time, close=number, realised_variance=number, **dict.fromkeys(FURTHER, number)
        ),
        schema(instrument=text, bar_time=time, target=text, **figures),
    )
