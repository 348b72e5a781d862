"""README's cluster section, as it stands there: jobs that are submitted to a real standalone cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compare import account, assert_each_once, assert_same, contents, sums
from processes import ROOT, STAGES, qts
from small_market import prepare, settings_of
from spark_cluster import QUICK_START, Cluster, running_cluster
from undisturbed import Undisturbed

from qts.pipeline.jars import PACKAGES
from qts.store.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.system]

#: How a run was cut into batches, and what is kept of each, is its own.
CUT = ("batches", "state", "quality_results")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def cluster_conf(local: Path) -> Path:
    """conf/cluster.yml for the sources of a local conf, which stay as they are; the batches and buckets are others."""
    data: dict[str, Any] = yaml.safe_load(local.read_text())
    # Of 64 shuffle partitions two cores would see little but scheduling.
    data["spark"] = {"shuffle_partitions": 3, "conf": {"spark.executor.extraJavaOptions": QUICK_START}}
    data["forecast"]["buckets"] = data["trade"]["buckets"] = 7
    data["extends"] = str(ROOT / "conf" / "cluster.yml")
    file = local.with_name("cluster.yml")
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def result_of(output: str) -> dict[str, Any]:
    """spark-submit puts what a job logs on stdout too: the result begins at the last line that is a lone brace."""
    return dict(json.loads(f"\n{output}"[f"\n{output}".rindex("\n{\n") :]))


def test_jobs_on_a_cluster_fill_the_same_tables(tmp_path: Path, cluster: Cluster, undisturbed: Undisturbed) -> None:
    conf = cluster_conf(prepare(undisturbed.market, tmp_path))
    assert settings_of(conf).spark.master is None
    told: dict[str, dict[str, Any]] = {}
    for job in STAGES:
        done = cluster.submit(job, "--config", str(conf), "--once", "--json", packages=PACKAGES)
        assert done.returncode == 0, (job, done.stderr[-4000:])
        told[job] = result_of(done.stdout)
    found, expected = contents(settings_of(conf)), contents(undisturbed.settings)
    same = [name for name in expected if name not in CUT]
    assert_same({name: found[name] for name in same}, {name: expected[name] for name in same})
    assert_each_once(settings_of(conf))
    assert sums(settings_of(conf)) == sums(undisturbed.settings)
    assert account(settings_of(conf)) == account(undisturbed.settings)
    assert told["ingest"]["in"] == sum(source["in"] for source in sums(undisturbed.settings).values())
    assert told["trade"]["orders"] == len(expected["orders"]) > 0


def test_jobs_beside_the_pipeline_run_on_a_cluster(tmp_path: Path, cluster: Cluster, undisturbed: Undisturbed) -> None:
    """Training, an experiment a task, and maintenance, over the tables of a local run."""
    conf = cluster_conf(prepare(undisturbed.market, tmp_path))
    settings = settings_of(conf)
    shutil.rmtree(settings.workdir)
    shutil.copytree(undisturbed.settings.workdir, settings.workdir)
    bars = Ledger(settings.tables).read("bars").to_pandas()
    daily = bars[bars["interval"] == "1d"].rename(columns={"bar_time": "date"})
    daily[["date", "instrument", "open", "high", "low", "close", "volume"]].to_csv(tmp_path / "daily.csv", index=False)
    data = yaml.safe_load(conf.read_text())
    names = "SmaCross,RsiReversion,ChannelBreakout"
    data["backtest"] = {"bars": str(tmp_path / "daily.csv"), "strategies": names, "spark": True}
    conf.write_text(yaml.safe_dump(data, sort_keys=False))
    told = {}
    for job in ("train", "backtest", "maintain"):
        done = cluster.submit(job, "--config", str(conf), "--once", "--json", packages=PACKAGES)
        assert done.returncode == 0, (job, done.stderr[-4000:])
        told[job] = result_of(done.stdout)
    assert set(told["train"]["models"]) == set(settings.forecast.models)
    assert {row["strategy"] for row in told["backtest"]["experiments"]} == set(names.split(","))
    assert all(row["metrics"] for row in told["backtest"]["experiments"])
    # The same experiments in processes of this machine: the same figures to the last bit.
    options = ["--strategies", names, "--json", "--config", undisturbed.conf, "--workdir", tmp_path / "local"]
    local = qts("backtest", "--bars", *map(str, [tmp_path / "daily.csv", *options]), cwd=tmp_path)
    assert local.returncode == 0, local.stderr[-4000:]
    assert json.loads(local.stdout)["experiments"] == told["backtest"]["experiments"]
    assert_same(
        contents(settings), {name: contents(undisturbed.settings)[name] for name in ("ticks", "orders", "fills")}
    )


def test_a_submission_without_the_jars_is_one_line(tmp_path: Path, cluster: Cluster, undisturbed: Undisturbed) -> None:
    conf = cluster_conf(prepare(undisturbed.market, tmp_path))
    done = cluster.submit("ingest", "--config", str(conf), "--once", packages=())
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("qts: ")]
    assert (done.returncode, len(told)) == (2, 1), done.stderr[-4000:]
    assert f"--packages {','.join(PACKAGES)}" in told[0]
