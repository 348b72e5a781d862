"""Settings: which source wins, and what an error tells."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from qts.cli import main
from qts.conf import conf_dir, conf_file, merge, read_conf
from qts.errors import ConfigError, MissingInput
from qts.mlops.tracking import Tracking
from qts.settings import Settings, duration, format_duration, load_settings
from qts.store.ledger import Ledger


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def conf(folder: Path, text: str, name: str = "own.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@given(st.integers(0, 2**62))
def test_a_duration_reads_back(nanoseconds):
    assert duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(("text", "nanoseconds"), [("1.5h", 5400 * 10**9), ("0.5us", 500), (" 10 s ", 10**10)])
def test_durations(text, nanoseconds):
    assert duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["10", "s", "-1s", "1 week", "0.5ns", "", "1e3s", "nan s"])
def test_what_is_no_duration(text):
    with pytest.raises(ConfigError, match=r"duration|whole number"):
        duration(text)


keys = st.sampled_from(["a", "b", "c"])
trees = st.recursive(st.integers() | st.lists(st.integers()), lambda inner: st.dictionaries(keys, inner), max_leaves=8)
mappings = st.dictionaries(keys, trees)


@given(mappings, mappings, mappings)
def test_layers_may_be_merged_pairwise(low, middle, high):
    assert merge(low, middle, high) == merge(merge(low, middle), high)
    assert merge(low, low) == low == merge(low, {}) == merge({}, low)


@pytest.mark.parametrize("name", ["local.yml", "cluster.yml"])
def test_the_conf_files_that_come_with_qts_load(name):
    settings = load_settings(conf_dir() / name)
    assert [source.name for source in settings.sources] == ["sp500_nasdaq", "stocks20", "vix_wti"]
    assert settings.risk.is_absolute()
    assert settings.strategies.is_absolute()


def test_local_yml_shows_every_key_with_its_default():
    written = yaml.safe_load((conf_dir() / "local.yml").read_text())
    defaults = Settings().model_dump(mode="json")
    assert set(written) == set(defaults)
    for section in ("spark", "bars", "forecast", "trade", "mlflow", "monitor", "log"):
        assert {**written[section]} == defaults[section]
    assert set(written["ingest"]) == set(defaults["ingest"])
    loaded = load_settings(conf_dir() / "local.yml")
    assert loaded.ingest == Settings().ingest


def test_settings_survive_json():
    settings = load_settings(None)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_each_source_wins_over_the_one_before(tmp_path, monkeypatch):
    path = conf(tmp_path, "trade: {seed: 2, cash: 5, account: yaml}")
    assert Settings().trade.seed == 7
    assert load_settings(path).trade.seed == 2
    (tmp_path / ".env").write_text("QTS_TRADE__SEED=3\nQTS_TRADE__ACCOUNT=dotenv\nOTHER=x\n")
    assert load_settings(path).trade.seed == 3
    monkeypatch.setenv("QTS_TRADE__SEED", "4")
    settings = load_settings(path)
    assert (settings.trade.seed, settings.trade.account, settings.trade.cash) == (4, "dotenv", 5)
    assert load_settings(path, trade={"seed": 5}).trade.seed == 5


def test_settings_made_in_code_ignore_the_environment(monkeypatch):
    monkeypatch.setenv("QTS_TRADE__SEED", "4")
    assert Settings().trade.seed == 7


def test_a_file_extends_another_and_paths_count_from_their_own_file(tmp_path):
    (tmp_path / "base").mkdir()
    conf(tmp_path / "base", "risk: risk.yml\ntrade: {seed: 2, cash: 5}", "base.yml")
    path = conf(tmp_path, "extends: base/base.yml\nworkdir: out\nstrategies: mine.yml\ntrade: {seed: 3}")
    settings = load_settings(path)
    assert (settings.trade.seed, settings.trade.cash) == (3, 5)
    assert settings.risk == tmp_path / "base" / "risk.yml"
    assert settings.strategies == tmp_path / "mine.yml"
    assert settings.workdir == tmp_path / "out"
    assert read_conf(path)["risk"] == "risk.yml"


def test_addresses_in_a_conf_file_stay_as_they_are(tmp_path):
    source = "{name: a, type: files, path: 's3://bucket/x', mapping: m.yml}"
    settings = load_settings(conf(tmp_path, f"sources: [{source}]"))
    assert settings.sources[0].path == "s3://bucket/x"
    assert settings.sources[0].mapping == tmp_path / "m.yml"


def test_own_conf_folder_goes_before_the_packaged_one(tmp_path):
    (tmp_path / "conf").mkdir()
    conf(tmp_path / "conf", "trade: {seed: 11}", "local.yml")
    assert conf_file("local.yml") == tmp_path / "conf" / "local.yml"
    assert load_settings().trade.seed == 11


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("traed: {seed: 1}", "traed: unknown key 'traed'. Did you mean 'trade'? (in "),
        ("trade: {sead: 1}", "trade.sead: unknown key 'sead'. Did you mean 'seed'? (in "),
        ("trade: {seed: many}", "trade.seed: expected a valid integer, not 'many' (in "),
        ("trade: {acting: tomson}", "Did you mean 'thompson'?"),
        ("trade: [1]", "trade: expected a valid dictionary"),
        ("ingest: {allowance: 10}", "ingest.allowance: 10 is not a duration; expected a number and a unit"),
        ("ingest: {gate: halt}", "ingest.gate: expected 'warn' or 'stop', not 'halt' (in "),
        ("ingest: {instruments: 5}", "ingest.instruments: expected 'any', not 5 or expected a list, not 5 (in "),
        ("bars: {decision: 2d}", "decision 2d has to be one of intervals"),
        ("bars: {base: 7s}", "1s, 1m, 1d, 1d are no multiples of base 7s"),
        ("bars: {base: 0s}", "a bar needs a length above zero"),
        (
            "sources: [{name: a, type: fils}]",
            "sources[0].type: expected files, kafka, replay, not 'fils'. Did you mean",
        ),
        ("sources: [{name: a}]", "sources[0]: type is missing"),
        ("sources: [{name: a, type: files, pth: x}]", "sources[0].pth: unknown key 'pth'. Did you mean 'path'?"),
        ("sources: [{name: a, type: files, path: x}]", "sources[0].mapping: is required (in "),
        ("sources: [{name: ../a, type: replay, dataset: x}]", "sources[0].name: "),
        ("sources: [{name: a, type: replay}]", "name either a dataset (packaged data) or a path (own data)"),
        (
            "sources: [{name: a, type: replay, dataset: x}, {name: a, type: replay, dataset: x}]",
            "sources: two sources are called a (in ",
        ),
        ("trade: {seed: 1}\ntrade: {seed: 2}", "the key 'trade' is there twice (line 2, column 1)"),
        ("trade: {seed: 1", "is not valid YAML"),
        ("- 1", "holds a list"),
        ("extends: [a]", "expected the name of one conf file"),
        ("extends: own.yml", "extends itself"),
        ("1: {a: 2}", "has the key 1; expected a name"),
        ("{[1]: 2}", "is not valid YAML"),
    ],
)
def test_a_conf_error_says_which_key_and_what_to_write(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        load_settings(conf(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "Input should" not in str(error.value)


def test_each_wrong_value_has_a_line_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("QTS_FORECAST__BUCKETS", "0")
    path = conf(tmp_path, "trade: {seed: x, cash: -1}\nlog: {level: loud}")
    with pytest.raises(ConfigError) as error:
        load_settings(path, monitor={"trigger": "soon"})
    lines = str(error.value).splitlines()
    origins = {line.split(":")[0]: line[line.rindex("(") :] for line in lines}
    assert len(lines) == len(origins)
    assert set(origins) == {"forecast.buckets", "log.level", "monitor.trigger", "trade.cash", "trade.seed"}
    assert origins["forecast.buckets"] == "(in the environment)."
    assert origins["monitor.trigger"] == "(as an option)."
    assert origins["trade.seed"] == f"(in {path})."


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "QTS_TRAED__SEED",
            "1",
            "Unknown variable QTS_TRAED__SEED in the environment. Did you mean 'QTS_TRADE__SEED'?",
        ),
        ("QTS_WRKDIR", "1", "Did you mean 'QTS_WORKDIR'?"),
        ("QTS_TRADE__SEAD", "1", "trade.sead: unknown key 'sead'. Did you mean 'seed'? (in the environment)"),
        ("QTS_SOURCES", "a,b", "Variable QTS_SOURCES is not JSON"),
    ],
)
def test_an_unknown_variable_is_refused(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert message in str(error.value)


def test_an_unknown_variable_in_dotenv_is_refused(tmp_path):
    (tmp_path / ".env").write_text("QTS_TRAED__SEED=1\n")
    with pytest.raises(ConfigError, match=r"QTS_TRAED__SEED in .env. Did you mean 'QTS_TRADE__SEED'"):
        load_settings()


def test_lists_come_as_json_from_the_environment(monkeypatch):
    monkeypatch.setenv("QTS_FORECAST__MODELS", '["naive"]')
    monkeypatch.setenv("QTS_INGEST__INSTRUMENTS", "any")
    assert load_settings().forecast.models == ("naive",)


def test_the_folder_of_the_jars_is_no_setting(monkeypatch):
    monkeypatch.setenv("QTS_JARS", "/somewhere")
    load_settings()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingInput, match=r"There is no conf file .*nope\.yml"):
        load_settings(tmp_path / "nope.yml")
    with pytest.raises(MissingInput, match="There is no conf file"):
        load_settings(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "bin.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "bin.yml")


def test_a_time_without_zone_is_utc(tmp_path):
    source = "{name: a, type: replay, dataset: x, start: 2001-01-01, end: '2001-01-01T01:00:00+01:00'}"
    replay = load_settings(conf(tmp_path, f"sources: [{source}]")).sources[0]
    assert replay.start == replay.end
    assert replay.start.tzinfo is not None


ODD = "a b 'c' \"d\" \u00e4\u00f6 \u65e5\u672c #&;{e,f}*:$g`+=~ 100% <h>"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a%20b", "'%20'"),
        ("a?b", "'?'"),
        ("a[1]", "'['"),
        ("a]", "']'"),
        ("a\\b", r"'\\\\'"),
        ("a^b", "'^'"),
        ("a|b", "'|'"),
        ("a\nb", r"'\\n'"),
        ("a\udcffb", r"'\\udcff'"),
    ],
)
def test_a_work_folder_that_no_library_can_use_is_refused_by_name_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    for folder in (tmp_path / name, tmp_path / name / "work"):
        assert main(["tables", "--workdir", str(folder)]) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        assert f"its path holds {told.replace(chr(92) * 2, chr(92))}, which a library" in said


def test_a_work_folder_with_an_odd_name_holds_tables_and_models(tmp_path: Path) -> None:
    settings = Settings(workdir=tmp_path / ODD)
    ledger = Ledger(settings.tables)
    row = {"instrument": ["A"], "currency": ["USD"], "multiplier": [1.0], "inverse": [False], "lot_size": [1.0]}
    ledger.append("instruments", pa.table(row | {"tick_size": [0.0], "tradable": [True], "price_from": ["trade"]}))
    assert ledger.read("instruments")["instrument"].to_pylist() == ["A"]
    assert (settings.workdir / "tables" / "instruments" / "_delta_log").is_dir()
    tracking = Tracking(settings.tracking_uri, "qts", settings.workdir / "mlruns")
    tracking.attach(tracking.run("a", "key").info.run_id, "note.txt", b"kept")
    assert [file.read_bytes() for file in (settings.workdir / "mlruns").rglob("note.txt")] == [b"kept"]
