"""One run that nobody kills, for all tests of this folder, and the comparison with it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compare import account, assert_each_once, assert_same, contents, models, sums
from processes import STAGES, Moment, Pipeline
from small_market import Market, make, prepare, settings_of

from qts.settings import Settings


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed.

    Attributes:
        market: what it read.
        stages: what it ran.
        conf: its conf file.
        landed: a copy of its workdir as it was before it traded.
        steps: its steps with the second at which each was told.
    """

    market: Market
    stages: tuple[str, ...]
    conf: Path
    landed: Path
    steps: Sequence[tuple[float, str]]

    @property
    def settings(self) -> Settings:
        return settings_of(self.conf)


def run_undisturbed(folder: Path, stages: tuple[str, ...] = STAGES) -> Undisturbed:
    """Runs the stages, of which one is trade, in an empty folder."""
    market = make(folder / "files")
    conf = prepare(market, folder)
    with Pipeline(conf, stages, hold="trade: begins") as pipeline:
        assert pipeline.until(Moment("trade: begins", exact=True)), pipeline.stderr[-4000:]
        shutil.copytree(folder / "work", folder / "landed")
        pipeline.go_on()
        pipeline.succeed()
    return Undisturbed(market, stages, conf, folder / "landed", pipeline.steps)


def assert_undisturbed(settings: Settings, undisturbed: Undisturbed) -> None:
    """Tables, account and models are those of the run that nobody killed."""
    assert_same(contents(settings), contents(undisturbed.settings))
    assert_each_once(settings)
    assert sums(settings) == sums(undisturbed.settings)
    assert account(settings) == account(undisturbed.settings)
    if "forecast" in undisturbed.stages:
        assert models(settings) == models(undisturbed.settings)
