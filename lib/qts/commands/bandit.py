"""Commands about bandits: what a policy would have earned on another one's log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import Json, Summary, report

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Bandits on logs and labelled tables.")


@app.command()
def ope(
    logged: Annotated[Path, typer.Option("--logged", help="csv or parquet, one round a row.")],
    action: Annotated[str, typer.Option("--action", help="Column of the action that was played.")],
    reward: Annotated[str, typer.Option("--reward", help="Column of what it brought.")],
    propensity: Annotated[str, typer.Option("--propensity", help="Column of the probability that it was played.")],
    policy: Annotated[Path, typer.Option("--policy", help="csv or parquet: action, position, probability.")],
    position: Annotated[str | None, typer.Option("--position", help="Column of the position, if there are.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Column of the time; by default `timestamp`, else the order of rows.")
    ] = None,
    floor: Annotated[float, typer.Option("--floor", help="Least propensity that can be evaluated.")] = 0.01,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """Evaluates a policy on the log of another one.

    IPS, SNIPS, DM, DR and Switch-DR, each with a 95% interval clustered by time, and the effective sample size.
    """

    def work() -> Summary:
        from qts.bandit import ope as estimators
        from qts.commands import ope_input

        ope_input.refuse_learners(policy)
        columns = ope_input.Columns(action, reward, propensity, position, time)
        log, target = ope_input.load(logged, policy, columns)
        return _summary(estimators.evaluate(log, target, floor, seed=seed))

    report(as_json, work, _show)


def _summary(result: Any) -> Summary:
    from dataclasses import asdict

    from qts.bandit.ope import ESTIMATORS

    nothing = {"value": None, "low": None, "high": None}
    found = result.estimates or {}
    summary: Summary = {
        "n": result.rows,
        "effective_sample_size": result.effective_sample_size,
        "evaluable": not result.reason,
        **{name: asdict(found[name]) if name in found else nothing for name in ESTIMATORS},
        "logged": asdict(result.logged),
        "time_blocks": result.blocks,
        "mean_weight": result.mean_weight,
        "max_weight": result.max_weight,
        "switch_threshold": result.switch if found else None,
    }
    if result.logged.value and found:
        summary["relative_ips"] = found["ips"].value / result.logged.value
    if result.reason:
        summary["reason"] = result.reason
    return summary


def _show(console: Console, summary: Summary) -> None:
    from rich.table import Table

    from qts.bandit.ope import ESTIMATORS

    console.print(
        f"{summary['n']:,} rounds, worth {summary['effective_sample_size']:,.0f} of the policy's own "
        f"(mean weight {summary['mean_weight']:.3f}, largest {summary['max_weight']:.1f})."
    )
    if not summary["evaluable"]:
        console.print(summary["reason"][0].upper() + summary["reason"][1:], style="bold")
        return
    table = Table("estimator", "mean reward", "95% interval", box=None, pad_edge=False)
    for name in ("logged", *ESTIMATORS):
        row = summary[name]
        table.add_row(name, f"{row['value']:.6g}", f"[{row['low']:.6g}, {row['high']:.6g}]")
    console.print(table)
    console.print(f"Intervals: bootstrap of {summary['time_blocks']:,} stretches of time.")
