"""Kills of a running pipeline: at moments drawn over its stages, or exactly at a step."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Sequence
from pathlib import Path

from processes import STAGES, Moment, Pipeline

#: Of the draws, which are over the times of the undisturbed run. KILL_SEED=5 tries others.
SEED = int(os.environ.get("KILL_SEED", "7"))


def kill_and_restart(
    conf: Path, moments: Sequence[Moment], *, everything: bool, stages: tuple[str, ...] = STAGES
) -> list[str]:
    """Kills a run at one moment after the other, then lets it end.

    Args:
        moments: in the order of stages.
        everything: whether a restart runs all stages, as `qts demo` does; else from the killed one on, as a scheduler
            does.
        stages: of the whole run.

    Returns:
        Where each kill hit: the moment, and the last step that had been told.
    """
    hits, left = [], stages
    for moment in moments:
        hold = moment.step if moment.exact else ""
        with Pipeline(conf, left, hold, moment.nth) as pipeline:
            came = pipeline.until(moment)
            pipeline.kill()
        last = pipeline.steps[-1][1] if pipeline.steps else "its start"
        assert pipeline.steps, pipeline.stderr[-4000:]
        assert not pipeline.complaint, pipeline.complaint
        hits.append(f"{moment}{'' if came else ', which did not come'}: after {last}")
        if not everything:
            left = stages[stages.index(moment.stage) :]
    with Pipeline(conf, left) as pipeline:
        pipeline.succeed()
    return hits


def random_moments(steps: Sequence[tuple[float, str]], count: int, stages: tuple[str, ...] = STAGES) -> list[Moment]:
    """Moments that are uniform over the stages, and within a stage over its time in the undisturbed run."""
    draw = random.Random(SEED)
    gaps = [(step, end - begin) for (begin, step), (end, _) in itertools.pairwise(steps)]
    moments = []
    for number in range(count):
        stage = stages[number % len(stages)]
        own = [(step, gap) for step, gap in gaps if step.startswith(f"{stage}:") and not step.endswith(": ends")]
        step, gap = draw.choices(own, weights=[gap for _, gap in own])[0]
        moments.append(Moment(step, delay=draw.uniform(0, gap)))
    return moments
