"""The gate: a Great Expectations suite from conf/expectations on each batch's aggregates, before rows are written."""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from qts.conf import read_yaml
from qts.errors import ConfigError, QualityGateFailed, did_you_mean

Action = Literal["warn", "stop"]

_FRAMES = ("batch", "instruments")
_OWN_KEYS = ("expect", "over", "action")


@dataclass(frozen=True)
class Rule:
    """One expectation: its type and arguments, the frame that it is about, and what its failure does."""

    expect: str
    over: str
    action: Action
    arguments: Mapping[str, Any]

    @property
    def label(self) -> str:
        """As it stands in quality_results: `expect_column_values_to_be_between(batch.rows, min_value=1)`."""
        columns = [f"{self.over}.{value}" for key, value in self.arguments.items() if key.startswith("column")]
        others = [f"{key}={value}" for key, value in self.arguments.items() if not key.startswith("column")]
        return f"{self.expect}({', '.join([*columns, *others])})"

    def observed(self, frames: Mapping[str, pd.DataFrame]) -> str:
        """The figures that were judged: range, or value, of each column."""
        rows = frames[self.over]
        shown = []
        for key, name in self.arguments.items():
            if key.startswith("column") and isinstance(name, str) and name in rows:
                values = rows[name].dropna()
                low, high = (values.min(), values.max()) if len(values) else (None, None)
                shown.append(f"{name} {_figure(low)}" + ("" if low == high else f" to {_figure(high)}"))
        return ", ".join(shown) or f"{len(rows)} rows"


@dataclass(frozen=True)
class Result:
    """What became of one expectation."""

    rule: Rule
    success: bool
    observed: str


@dataclass(frozen=True)
class Suite:
    """The expectations of one table.

    Attributes:
        table: the table.
        rules: in the file's order.
        origin: the file, for messages.
    """

    table: str
    rules: tuple[Rule, ...]
    origin: str

    @property
    def name(self) -> str:
        """The table and a digest of what is expected: results of a changed suite can be told from older ones."""
        text = json.dumps([(rule.label, rule.action) for rule in self.rules])
        return f"{self.table}@{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @classmethod
    def load(cls, path: Path, table: str, default: Action) -> Suite:
        """Reads a suite; no file means no expectations.

        Args:
            default: the action of expectations that name none.

        Raises:
            ConfigError: an unknown key, frame or action, or no list of expectations.
        """
        data = read_yaml(path) if path.exists() else {"expectations": []}
        listed = data.get("expectations")
        if set(data) != {"expectations"} or not isinstance(listed, list):
            raise ConfigError(f"Suite {path} has keys {sorted(data)}; expected one list, `expectations:`.")
        return cls(table, tuple(_rule(entry, path, default) for entry in listed), str(path))

    def check(self, frames: Mapping[str, pd.DataFrame]) -> list[Result]:
        """Judges a batch.

        Args:
            frames: `batch` (one row) and `instruments`.

        Raises:
            ConfigError: an expectation does not exist, or not with these arguments, or names an unknown column.
        """
        if not self.rules:
            return []
        for rule in self.rules:
            self._check_columns(rule, frames[rule.over])
        passed: dict[int, bool] = {}
        for over in _FRAMES:
            numbers = [number for number, rule in enumerate(self.rules) if rule.over == over]
            if numbers and not len(frames[over]):
                passed |= dict.fromkeys(numbers, True)
            elif numbers:
                passed |= _validator().validate(over, frames[over], {n: self.rules[n] for n in numbers}, self.origin)
        return [Result(rule, passed[number], rule.observed(frames)) for number, rule in enumerate(self.rules)]

    def _check_columns(self, rule: Rule, frame: pd.DataFrame) -> None:
        for key, name in rule.arguments.items():
            if key in ("column", "column_A", "column_B") and name not in frame.columns:
                hint = did_you_mean(str(name), frame.columns)
                raise ConfigError(
                    f"Suite {self.origin} names column {name!r} of {rule.over!r}, which has "
                    f"{', '.join(frame.columns)}.{hint}"
                )


def result_rows(suite: Suite, results: Sequence[Result], checked_at: Any) -> pa.Table:
    """Rows for quality_results, without the batch's columns."""
    return pa.table(
        {
            "table_name": [suite.table] * len(results),
            "suite": [suite.name] * len(results),
            "expectation": [result.rule.label for result in results],
            "success": [result.success for result in results],
            "action": [result.rule.action for result in results],
            "observed": [result.observed for result in results],
            "checked_at": pa.array([checked_at] * len(results), pa.timestamp("us", tz="UTC")),
        }
    )


def stop_on_failure(suite: Suite, results: Sequence[Result], source: str, batch: int) -> None:
    """Ends the job where a failed expectation says so.

    Raises:
        QualityGateFailed: with every such expectation and its figures.
    """
    failed = [result for result in results if not result.success and result.rule.action == "stop"]
    if failed:
        listed = "; ".join(f"{result.rule.label}: {result.observed}" for result in failed)
        raise QualityGateFailed(
            f"Batch {batch} of source {source!r} fails {listed}. Nothing of it was written. Look at the data, or "
            f"change {suite.origin} or ingest.gate; then start the job again and the batch is taken in."
        )


def warm_up() -> None:
    """Loads Great Expectations in the background: it takes seconds, which the first batch need not wait for.

    A process that ends earlier waits for it: a thread that is cut off inside a library's C++ would abort the process.
    """
    threading.Thread(target=_validator, name="expectations").start()


def _rule(entry: Any, path: Path, default: Action) -> Rule:
    if not isinstance(entry, dict) or not isinstance(entry.get("expect"), str):
        raise ConfigError(f"Suite {path} has the entry {entry!r}; expected a mapping with `expect: expect_...`.")
    over, action = entry.get("over", "batch"), entry.get("action", default)
    for key, value, known in (("over", over, _FRAMES), ("action", action, ("warn", "stop"))):
        if value not in known:
            raise ConfigError(f"Suite {path}: {key} is {value!r}; expected {' or '.join(known)}.")
    arguments = {key: value for key, value in entry.items() if key not in _OWN_KEYS}
    return Rule(entry["expect"], over, action, arguments)


def _figure(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class _Validator:
    """One ephemeral context a process: nothing is stored, nothing is sent."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # The library's own imports warn about modules that Python will drop.
            warnings.simplefilter("ignore")
            import great_expectations as gx
            from great_expectations.data_context.types.base import ProgressBarsConfig
            from great_expectations.expectations import registry
        self._gx, self._registry = gx, registry
        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        source = context.data_sources.add_pandas("qts")
        self._batches = {
            over: source.add_dataframe_asset(over).add_batch_definition_whole_dataframe("whole") for over in _FRAMES
        }
        self._lock = threading.Lock()

    def validate(self, over: str, frame: pd.DataFrame, rules: Mapping[int, Rule], origin: str) -> dict[int, bool]:
        """Which rules hold, by their number."""
        # `number` travels in the metadata: the library gives results in an order of its own.
        suite = self._gx.ExpectationSuite(
            name=over, expectations=[self._build(number, rule, origin) for number, rule in rules.items()]
        )
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batch = self._batches[over].get_batch({"dataframe": frame})
            found = batch.validate(suite, result_format="BOOLEAN_ONLY")
        passed = {}
        for result in found.results:
            judged: Any = result.expectation_config
            number = judged.meta["number"]
            if result.exception_info.get("raised_exception"):
                raise ConfigError(
                    f"Suite {origin}: {rules[number].label} cannot be judged: "
                    f"{result.exception_info.get('exception_message')}."
                )
            passed[number] = bool(result.success)
        return passed

    def _build(self, number: int, rule: Rule, origin: str) -> Any:
        known = self._registry.list_registered_expectation_implementations()
        if rule.expect not in known:
            raise ConfigError(f"Suite {origin}: there is no {rule.expect!r}.{did_you_mean(rule.expect, known)}")
        try:
            build = self._registry.get_expectation_impl(rule.expect)
            return build(**rule.arguments, meta={"number": number})
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"Suite {origin}: {rule.label} is not what {rule.expect} takes: {reason}.") from error


_made: list[_Validator] = []
_making = threading.Lock()


def _validator() -> _Validator:
    with _making:
        if not _made:
            _made.append(_Validator())
        return _made[0]
