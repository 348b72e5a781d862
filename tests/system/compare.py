"""Every declared table of a run, as text that two runs can be compared by."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.compute as pc

from qts.mlops.tracking import Tracking
from qts.settings import Settings
from qts.store.columns import arrays_of
from qts.store.ledger import Ledger
from qts.store.tables import TABLES

#: Figures of how a run went, which a killed one is bound to have others of.
HEALTH = "pipeline_health"


def contents(settings: Settings) -> dict[str, list[str]]:
    """Rows of done batches by table, without what a replay may change, in the order of the key.

    Of `batches` and `state` only those of ingest, whose batches are cut by their input alone: a restarted trade,
    forecast or monitor job has a batch more that finds nothing new.
    """
    ledger = Ledger(settings.tables)
    found = {}
    for name, declared in TABLES.items():
        if name == HEALTH:
            continue
        columns = [column for column in declared.schema.names if column not in declared.replayed]
        where = pc.field("job") == "ingest" if name in ("batches", "state") else None
        rows = ledger.read(name, columns=columns, where=where).to_pylist()
        keys = [column for column in declared.key if column in columns]
        ordered = sorted(rows, key=lambda row: [repr(row[column]) for column in (*keys, *columns)])
        found[name] = [repr(row) for row in ordered]
    return found


def assert_same(found: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    """Table by table, so that a failure names the rows that differ."""
    for name, rows in expected.items():
        lost, added = Counter(rows) - Counter(found[name]), Counter(found[name]) - Counter(rows)
        assert found[name] == rows, f"{name}: lost {list(lost)[:3]}, added {list(added)[:3]}"


def assert_each_once(settings: Settings) -> None:
    """No key twice, no row of a batch that is not done, and every plan with one end."""
    ledger = Ledger(settings.tables)
    for name, declared in TABLES.items():
        keys = ledger.read(name, columns=declared.key, done_only=False)
        assert keys.group_by(list(declared.key)).aggregate([]).num_rows == keys.num_rows, name
        assert keys.num_rows == ledger.read(name, columns=declared.key).num_rows, name
    batches = ledger.read("batches", columns=("checkpoint_id", "batch_id", "phase")).to_pylist()
    ends = Counter((row["checkpoint_id"], row["batch_id"]) for row in batches if row["phase"] == "done")
    plans = Counter((row["checkpoint_id"], row["batch_id"]) for row in batches if row["phase"] == "plan")
    assert ends == plans
    assert set(ends.values()) == {1}


def sums(settings: Settings) -> dict[str, dict[str, int]]:
    """Rows by source, as its batches counted them, which must be what is in the tables."""
    ledger = Ledger(settings.tables)
    where = (pc.field("job") == "ingest") & (pc.field("phase") == "done")
    found: dict[str, Counter[str]] = {}
    for payload in ledger.read("batches", columns=("payload",), where=where)["payload"].to_pylist():
        told = json.loads(payload)
        counts = {key: told[key] for key in ("in", "accepted", "quarantined", "duplicates")}
        found.setdefault(told["source"], Counter()).update(counts)
    landed = Counter(
        row for name in ("ticks", "indices", "headlines") for row in ledger.read(name)["source"].to_pylist()
    )
    refused = Counter(ledger.read("quarantine")["source"].to_pylist())
    for source, counts in found.items():
        assert counts["in"] == counts["accepted"] + counts["quarantined"] + counts["duplicates"], source
        assert counts["accepted"] == landed[source], source
        assert counts["quarantined"] + counts["duplicates"] == refused[source], source
    return {source: dict(counts) for source, counts in sorted(found.items())}


def account(settings: Settings) -> dict[str, list[str]]:
    """Policies, strategies and book after the last trade batch, array by array."""
    rows = Ledger(settings.tables).read("state", where=pc.field("job") == "trade").to_pylist()
    last = max(row["batch_id"] for row in rows)
    blobs = {row["part"]: row["blob"] for row in rows if row["batch_id"] == last}
    return {
        f"{part}.{name}": [str(array.dtype), repr(array.tolist())]
        for part in ("desk", "book")
        for name, array in sorted(arrays_of(blobs[part]).items())
    }


def models(settings: Settings) -> dict[str, list[tuple[str, ...]]]:
    """MLflow: by registered model its versions with their aliases; and all runs with what became of them."""
    client = Tracking(settings.tracking_uri, settings.mlflow.experiment).client
    experiment = client.get_experiment_by_name(settings.mlflow.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    found: dict[str, list[tuple[str, ...]]] = {"runs": sorted((run.info.run_name, run.info.status) for run in runs)}
    for model in client.search_registered_models():
        aliases = sorted(f"{alias}={version}" for alias, version in model.aliases.items())
        versions = client.search_model_versions(f"name='{model.name}'")
        found[model.name] = [(str(version.version), *aliases) for version in versions]
    return found
