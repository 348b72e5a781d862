"""MLflow's tracking store: runs with parameters, metrics and tags. MLflow takes seconds to import: only when used."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qts.errors import ModelUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: What one `log_batch` request may hold.
_METRICS, _PARAMS, _TAGS, _TEXT = 1000, 100, 100, 6000
#: Tags of a new experiment. Without a kind MLflow shows it as one of language models.
_EXPERIMENT = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "Runs of QTS. The search box takes `tags.\"qts.job\" = 'forecast'` (forecasters that were fitted), `'regime'`, "
        "`'monitor'` (errors of the forecasts since then) or `'backtest'`, and `tags.\"qts.model\" = 'log_har'`. The "
        "models that serve are in the registry, under the alias `champion`."
    ),
}


def prepare() -> None:
    """Imports MLflow as it is used here: no pickle is ever loaded, nothing is sent to its makers, no chatter."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # a model version is not the project of the current folder
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # A server that is down is told of within seconds, not minutes: the jobs go on without it.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    # A pooled connection keeps a database file that was replaced, say by its backup, and never sees the new one.
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    for name in ("mlflow", "alembic"):  # each tells of its set-up on stderr, in warnings too
        logging.getLogger(name).setLevel(logging.ERROR)
    # With a traceback of every SQL error that `reachable` makes one line of.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own type hints
        import mlflow.pyfunc  # noqa: F401


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Turns what a store that is down raises into one clear error.

    Raises:
        ModelUnavailable: the store cannot be reached, or refused what was asked.
    """
    prepare()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ModelUnavailable(
            f"MLflow at {uri} failed: {_cause(error)}. Check mlflow.tracking_uri, that the server runs or the database "
            "file can be written, then start the job again; what it had done is kept."
        ) from error


def _cause(error: Exception) -> str:
    """What went wrong, in one line: a request that failed tells its whole address, and the cause behind it."""
    lines = [line.strip() for line in str(error).splitlines()]
    # SQLAlchemy may begin with advice to its callers, in brackets.
    lines = [line for line in lines if line and not line.startswith("(raised as")] or [type(error).__name__]
    # Of a download the first line names the folder, and each file follows under a heading of hashes.
    first = " ".join(line.strip("# ") for line in (lines[:3] if lines[0].endswith(":") else lines[:1]))
    asked, _, cause = first.partition(" (Caused by ")
    if cause:
        told = re.fullmatch(r"\w+\(['\"](.*)['\"]\)+", cause)
        first = f"{asked.split(' failed with exception ')[0]} failed: {told[1] if told else cause.rstrip(')')}"
    return first.rstrip(".")


def _make_store(file: Path) -> None:
    """Makes a sqlite store as a whole or not at all, where there is none.

    MLflow fills a new one by many migrations, and one that was interrupted between them can never be opened again.
    """
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():  # another process made it meanwhile
            return
        draft = file.with_name(f".{file.name}.draft")
        for leftover in (draft, draft.with_name(f"{draft.name}-journal")):
            leftover.unlink(missing_ok=True)
        _client(f"sqlite:///{draft}").search_experiments(max_results=1)
        draft.rename(file)


def _client(uri: str) -> MlflowClient:
    with warnings.catch_warnings():
        # MLflow's own mappings use what its SQLAlchemy has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=uri, registry_uri=uri)


class Tracking:
    """One experiment of a tracking store.

    Uses a client of its own, never MLflow's process-wide settings, so that several stores can be open at once.

    Args:
        uri: `sqlite:///FILE`, or the address of a server.
        experiment: name of the experiment, made where there is none.
        artifacts: folder for the files of a new experiment in a local store; a server has its own place.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path | None = None) -> None:
        if uri.startswith("file:") or "://" not in uri:
            raise ModelUnavailable(
                f"mlflow.tracking_uri is {uri!r}: file stores are not used. Give sqlite:///FILE or a server's address."
            )
        self.uri = uri
        self.experiment = experiment
        self.artifacts = artifacts

    @cached_property
    def client(self) -> MlflowClient:
        """The client; the first use of a sqlite store makes its tables."""
        if self.uri.startswith("sqlite:///"):
            with reachable(self.uri):
                _make_store(Path(self.uri.removeprefix("sqlite:///")))
        with reachable(self.uri):
            return _client(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """Identity of the experiment."""
        with reachable(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            if found is not None:
                return str(found.experiment_id)
            local = self.uri.startswith("sqlite:") and self.artifacts is not None
            place = self.artifacts.absolute().as_uri() if local and self.artifacts is not None else None
            return str(self.client.create_experiment(self.experiment, artifact_location=place, tags=_EXPERIMENT))

    def run(self, name: str, key: str, tags: Mapping[str, str] | None = None, start: int | None = None) -> Run:
        """The run of this key: the one that exists, or a new one. So a replay goes on where it broke off.

        Args:
            name: shown in the user interface.
            key: identity, kept as the tag `qts.key`; without quotes, which MLflow's filters cannot escape.
            tags: of a new run; `qts.job` is shown as its source.
            start: of a new run, milliseconds since 1970-01-01 UTC; now if None.
        """
        with reachable(self.uri):
            found = self.client.search_runs([self.experiment_id], f"tags.`qts.key` = '{key}'", max_results=1)
            if found:
                return found[0]
            told = {"qts.key": key, **_source((tags or {}).get("qts.job", "")), **(tags or {})}
            return self.client.create_run(self.experiment_id, start_time=start, run_name=name, tags=told)

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
        at: int = 0,
    ) -> None:
        """Logs in as few requests as the store allows.

        Args:
            at: time of the metrics, milliseconds since 1970-01-01 UTC.
        """
        with reachable(self.uri):
            from mlflow.entities import Metric, Param, RunTag

            all_metrics = [Metric(key, float(value), at, step) for key, value in (metrics or {}).items()]
            all_params = [Param(key, str(value)[:_TEXT]) for key, value in (params or {}).items()]
            all_tags = [RunTag(key, value[:_TEXT]) for key, value in (tags or {}).items()]
            while all_metrics or all_params or all_tags:
                self.client.log_batch(run_id, all_metrics[:_METRICS], all_params[:_PARAMS], all_tags[:_TAGS])
                del all_metrics[:_METRICS], all_params[:_PARAMS], all_tags[:_TAGS]

    def read(self, run_id: str, tables: Mapping[str, tuple[str, int]]) -> None:
        """Notes the versions of Delta tables that a run read, as its data sets; once.

        Args:
            tables: path and version by name.
        """
        with reachable(self.uri):
            from mlflow.entities import Dataset, DatasetInput, InputTag

            found = []
            for name, (path, version) in tables.items():
                source = json.dumps({"path": path, "delta_table_version": version})
                digest = f"v{version}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
                data = Dataset(name, digest, "delta_table", source)
                found.append(DatasetInput(data, [InputTag("mlflow.data.context", "training")]))
            self.client.log_inputs(run_id, found)

    def attach(self, run_id: str, name: str, content: bytes) -> None:
        """Files an artefact with a run; again under the same name replaces it."""
        with reachable(self.uri), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            self.client.log_artifact(run_id, str(file))

    def finish(self, run_id: str, *, failed: bool = False) -> None:
        """Marks a run as finished, or failed; more may be logged to it later."""
        with reachable(self.uri):
            self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def _source(job: str) -> dict[str, str]:
    """What made a run, and for whom; a container's user may have no name."""
    told = {"mlflow.source.name": f"qts {job}", "mlflow.source.type": "JOB"} if job else {}
    with suppress(KeyError, OSError):
        told["mlflow.user"] = getpass.getuser()
    return told
