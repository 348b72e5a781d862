"""Work folders and files whose path a library might read as something else: a URL, a pattern, code."""

from __future__ import annotations

from pathlib import Path

import pytest

from qts.errors import ConfigError
from qts.pipeline import bars, ingest, trade
from qts.settings import Settings
from qts.store.ledger import Ledger

from .test_ingest import MAPPING, TRADES, write

ODD = "a b 'c' \"d\" \u00e4\u00f6 \u65e5\u672c #&;{e,f}*$g`+=~ 100% <h>"


def test_jobs_run_in_a_folder_with_an_odd_name(spark, tmp_path: Path) -> None:
    settings = Settings(workdir=tmp_path / ODD / "work")
    path, mapping = write(tmp_path / ODD / "t.csv", TRADES), write(tmp_path / ODD / "m.yml", MAPPING)
    assert ingest.run(settings, once=True, path=path, mapping=mapping)["accepted"] == 3
    assert ingest.run(settings, once=True, path=path, mapping=mapping)["in"] == 0
    assert bars.run(settings)["bars"] == {"1s": 3, "1m": 1, "1d": 1}
    assert trade.run(settings, once=True)["decisions"] == 3
    assert len(Ledger(settings.tables).read("bars")) == 5
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [ODD]


def test_a_colon_beside_a_pattern_s_character_is_refused(spark, tmp_path: Path) -> None:
    colon, both = tmp_path / "10:30", tmp_path / "10:30 {a}"
    mapping = write(tmp_path / "m.yml", MAPPING)
    assert ingest.run(Settings(workdir=colon), once=True, path=write(colon / "t.csv", TRADES), mapping=mapping)["in"]
    with pytest.raises(ConfigError, match=r"a colon and '\{': Hadoop cannot read both"):
        ingest.run(Settings(workdir=colon), once=True, path=write(both / "t.csv", TRADES), mapping=mapping)
