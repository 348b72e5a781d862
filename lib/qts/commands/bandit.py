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


@app.command()
def simulate(
    input_: Annotated[Path, typer.Option("--input", help="csv or parquet: features and a label, one row a case.")],
    label: Annotated[str, typer.Option("--label", help="Column of the right arm; any type.")],
    policy: Annotated[str, typer.Option("--policy", help="linucb, lints, squarecb, thompson, ucb1, ...")] = "linucb",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rows are tiled where there are fewer.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the rows' order and the policy's draws.")] = 0,
    parameter: Annotated[
        list[str] | None, typer.Option("--param", help="Of the policy, say alpha=0.3; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plays a policy on a labelled table.

    The label is the right arm: a right choice earns 1, a wrong one 0, and only the chosen arm's reward is seen.
    """

    def work() -> Summary:
        from qts.bandit import simulate as simulation
        from qts.bandit.registry import build_policy
        from qts.commands.files import read_table, require_columns

        given = dict(_parameter(text) for text in parameter or ())
        built = build_policy(policy, {**simulation.LABELLED.get(policy, {}), **given})
        frame = read_table(input_, "features and a label, one row a case")
        require_columns(frame, [label], input_)
        data = simulation.table(frame, label)
        return {"policy": policy, **simulation.summary(simulation.play(built, data, rounds, seed), data), "seed": seed}

    report(as_json, work, _show_simulation)


def _parameter(text: str) -> tuple[str, Any]:
    import yaml

    from qts.errors import ConfigError

    name, equals, value = text.partition("=")
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        read = None
    if not name or not equals or read is None:
        raise ConfigError(f"--param {text!r} is no parameter; expected name=value, such as alpha=0.3.")
    return name, read


def _show_simulation(console: Console, summary: Summary) -> None:
    low, high = summary["interval"]
    console.print(
        f"{summary['policy']}: mean reward {summary['mean_reward']:.4f} [{low:.4f}, {high:.4f}] over "
        f"{summary['rounds']:,} rounds, {summary['mean_reward_last_2000']:.4f} over the last 2,000."
    )
    console.print(
        f"{summary['arms']} arms, {summary['features']} features, {summary['rows']:,} rows. Always the commonest arm: "
        f"{summary['baseline']['majority']:.4f}; any arm: {summary['baseline']['uniform']:.4f}."
    )


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
    if found and found["ips"].low == found["ips"].high:
        often = max(result.effective_sample_size / 3, 1.0)
        said = (
            "ips, snips: all rewards that count are the same, and a bootstrap of them knows no spread: no interval. "
            f"A reward that comes less often than once in {often:,.0f} rounds may have been missed by chance."
        )
        summary["notes"] = [said]  # the rule of three
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
    for note in summary.get("notes", []):
        console.print(f"Note: {note}", soft_wrap=True)
