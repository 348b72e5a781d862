"""`qts explain`: every order can be led back to what it was decided on, and decided again."""

from __future__ import annotations

import json
import shutil

import pytest
from deltalake import write_deltalake
from trade_help import STRATEGIES, undisturbed

from qts.errors import DataError
from qts.pipeline import explain, tables
from qts.settings import Settings
from qts.store.ledger import Ledger
from qts.trading.propose import CONTEXT

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def traded(spark, tmp_path_factory) -> Settings:
    return undisturbed(tmp_path_factory)


def copy_of(settings: Settings, folder) -> Settings:
    shutil.copytree(settings.workdir, folder)
    return settings.model_copy(update={"workdir": folder})


def orders(settings: Settings, verdict: str = "accept") -> list[dict]:
    rows = Ledger(settings.tables).read("orders").sort_by("order_id").to_pylist()
    return [row for row in rows if row["verdict"] == verdict]


def test_an_order_is_told_whole_and_decided_again_the_same(traded):
    chosen = orders(traded)[-1]
    told = explain.run(traded, chosen["order_id"])
    json.dumps(told, allow_nan=False)
    assert told["replay"] == {"identical": True, "differences": []}
    assert told["order"]["instrument"] == chosen["instrument"]
    assert told["ticks"]["count"] == len(told["ticks"]["first"]) > 0
    assert all(tick["instrument"] == chosen["instrument"] for tick in told["ticks"]["first"])
    assert told["bar"]["interval"] == "1d"
    assert set(told["signals"]) == set(STRATEGIES)
    assert told["decision"]["arm"] in STRATEGIES
    assert 0 < told["decision"]["propensity"] <= 1
    assert set(told["decision"]["context"]) == set(CONTEXT)
    assert told["known"]["index.VIX"] >= 15
    assert told["known"]["forecast.log_har.variance"] > 0
    assert [model["model"] for model in told["models"]] == ["log_har"]
    assert len(told["rules"]) >= 7
    assert not any(rule["broken"] for rule in told["rules"])
    assert told["plan"]["seed"] == traded.trade.seed


def test_a_cut_or_denied_order_names_its_broken_rule(traded):
    for chosen in [*orders(traded, "cut")[:1], *orders(traded, "deny")[:1]]:
        told = explain.run(traded, chosen["order_id"])
        assert told["replay"]["identical"]
        assert [rule["code"] for rule in told["rules"] if rule["broken"]] == chosen["codes"]


def test_an_unknown_order_gets_a_hint(traded):
    known = orders(traded)[0]["order_id"]
    with pytest.raises(DataError, match=r"no order .* among \d+ orders .*Did you mean"):
        explain.run(traded, known[:-1])


def test_an_order_that_was_tampered_with_is_told(traded, tmp_path):
    settings = copy_of(traded, tmp_path / "work")
    chosen = orders(settings)[5]["order_id"]
    delta = Ledger(settings.tables).open("orders")
    delta.update(predicate=f"order_id = '{chosen}'", updates={"quantity": "quantity + 1"})
    replay = explain.run(settings, chosen)["replay"]
    assert replay == {"identical": False, "differences": ["orders: quantity"]}


def test_without_the_state_a_replay_is_said_to_be_impossible(traded, tmp_path):
    settings = copy_of(traded, tmp_path / "work")
    ledger = Ledger(settings.tables)
    # The market was traded in one batch; as number 1 it would have needed the state after 0.
    for name in ("orders", "batches", "bars", "decisions", "signals", "state"):
        rows = ledger.read(name, done_only=False).to_pandas().assign(batch_id=1)
        write_deltalake(
            ledger.path(name), explain.pa.Table.from_pandas(rows, schema=explain.table(name).schema), mode="overwrite"
        )
    told = explain.run(settings, orders(settings)[-1]["order_id"])
    assert told["replay"] == {"impossible": "the state after batch 0 is no longer kept"}
    assert told["order"]
    assert told["bar"]


def test_side_tables_that_were_vacuumed_make_a_replay_impossible(traded, tmp_path):
    settings = copy_of(traded, tmp_path / "work")
    chosen = orders(settings)[-1]["order_id"]
    ledger = Ledger(settings.tables)
    write_deltalake(ledger.path("forecasts"), ledger.read("forecasts"), mode="overwrite")
    ledger.open("forecasts").vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    told = explain.run(settings, chosen)
    assert "no longer kept" in told["replay"]["impossible"]
    assert tables.list_tables(settings)["tables"]
