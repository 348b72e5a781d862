"""`qts control`: manual overrides, each a row of the controls table with who, when and why."""

from __future__ import annotations

import getpass
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qts.commands.common import Config, Json, Summary, Workdir, load, report
from qts.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from qts.store.ledger import Ledger

app = typer.Typer(help="Overrides trading by hand, audited.")

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the controls table.")]
Scope = Annotated[str, typer.Option("--instrument", "-i", help="One instrument; by default the whole account.")]


@app.command()
def halt(
    reason: Reason, scope: Scope = "*", config: Config = None, workdir: Workdir = None, as_json: Json = False
) -> None:
    """No orders at all from the next batch on."""
    _act("halt", reason, scope, config, workdir, as_json)


@app.command()
def reduce(
    reason: Reason, scope: Scope = "*", config: Config = None, workdir: Workdir = None, as_json: Json = False
) -> None:
    """Only orders that make a position smaller."""
    _act("reduce", reason, scope, config, workdir, as_json)


@app.command()
def flatten(
    reason: Reason, scope: Scope = "*", config: Config = None, workdir: Workdir = None, as_json: Json = False
) -> None:
    """Closes positions, then only orders that make a position smaller."""
    _act("flatten", reason, scope, config, workdir, as_json)


@app.command()
def resume(
    reason: Reason, scope: Scope = "*", config: Config = None, workdir: Workdir = None, as_json: Json = False
) -> None:
    """Trading as usual; also after a circuit breaker."""
    _act("resume", reason, scope, config, workdir, as_json)


@app.command()
def status(config: Config = None, workdir: Workdir = None, as_json: Json = False) -> None:
    """What holds now, and every override so far."""

    def work() -> Summary:
        from qts.store.ledger import Ledger

        return folded(Ledger(load(config, workdir).tables))

    report(as_json, work, _show_status)


def append_control(ledger: Ledger, action: str, scope: str, reason: str, actor: str, at: datetime) -> Summary:
    """Appends one override.

    Args:
        scope: `*` for the account, or the name of an instrument in the instruments table.
        actor: who does it.
        at: when, UTC.

    Raises:
        ConfigError: the reason is empty.
        DataError: no such instrument; an override that names none would change nothing in silence.
    """
    import pyarrow as pa

    if not reason.strip():
        raise ConfigError("--reason is empty; say why, for those who read the controls table later.")
    if scope != "*":
        known = ledger.read("instruments", columns=("instrument",))["instrument"].to_pylist()
        if scope not in known:
            raise DataError(
                f"There is no instrument {scope!r} in {ledger.path('instruments')}, which has {len(known)}."
                f"{did_you_mean(scope, known)} Leave --instrument out to act on the whole account."
            )
    row = {
        "control_id": uuid.uuid4().hex,
        "at": at,
        "action": action,
        "scope": scope,
        "reason": reason.strip(),
        "actor": actor,
    }
    ledger.append("controls", pa.Table.from_pylist([row]))
    return row


def folded(ledger: Ledger) -> Summary:
    """What the controls table says in sum: the account's state, the instruments that differ from it, the history."""
    from qts.trading.controls import STATES, fold

    history: list[dict[str, Any]] = ledger.read("controls").to_pylist()
    history.sort(key=lambda row: (row["at"], row["control_id"]))
    names = sorted(
        {row["scope"] for row in history if row["scope"] != "*"}
        | set(ledger.read("instruments", columns=("instrument",))["instrument"].to_pylist())
    )
    controls = fold(history, names)
    states = {name: STATES[code] for name, code in zip(names, controls.states.tolist(), strict=True)}
    return {
        "state": controls.state,
        "instruments": {name: state for name, state in states.items() if state != controls.state},
        "flattened": [name for name, flat in zip(names, controls.flattened.tolist(), strict=True) if flat],
        "history": history,
    }


def _act(action: str, reason: str, scope: str, config: Any, workdir: Any, as_json: bool) -> None:
    def work() -> Summary:
        from qts.store.ledger import Ledger

        ledger = Ledger(load(config, workdir).tables)
        row = append_control(ledger, action, scope, reason, _user(), datetime.now(UTC))
        return {**row, "state": folded(ledger)["state"]}

    report(as_json, work)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # containers run under ids that have no name
        raise ConfigError("Who are you? This user id has no name; set USER, for the audit log.") from error


def _show_status(console: Console, summary: Summary) -> None:
    from rich.table import Table

    console.print(f"Trading is {summary['state']}.", style="bold")
    for name, state in summary["instruments"].items():
        console.print(f"  {name}: {state}")
    if summary["flattened"]:
        console.print(f"Positions are being closed: {', '.join(summary['flattened'])}")
    if summary["history"]:
        table = Table("at (UTC)", "action", "scope", "actor", "reason", box=None, pad_edge=False)
        for row in summary["history"]:
            table.add_row(f"{row['at']:%Y-%m-%d %H:%M:%S}", row["action"], row["scope"], row["actor"], row["reason"])
        console.print(table)
