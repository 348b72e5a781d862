"""Model versions in MLflow's registry: register, move aliases, load by alias."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qts.errors import ModelRefused, ModelUnavailable
from qts.mlops.bundle import ARTIFACT, FILE, Bundle
from qts.mlops.cache import ChampionCache
from qts.mlops.tracking import Tracking, reachable

CHAMPION, CHALLENGER = "champion", "challenger"
#: Tag of a version: the checksum of its file of parameters. It lives in the registry's database, apart from the file.
_SEAL = "qts.sha256"
#: Characters of a description that the registry's database keeps.
_TEXT = 5000


@dataclass(frozen=True)
class Served:
    """What can be served now.

    Attributes:
        versions: of each model: the champion, or where it cannot be had the last good one that this machine knows; None
            where there is none.
        down: why the registry cannot be asked, else empty.
        refused: by model, why its champion cannot be loaded from the registry although that can be asked.
    """

    versions: Mapping[str, str | None]
    down: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises what stands in the way where nothing can be served.

        Raises:
            ModelUnavailable: the registry is down, and this machine knows no champion of any of the models.
            ModelRefused: the champions' files are not to be had, and this machine has no copy.
        """
        if any(self.versions.values()):
            return
        if self.down:
            raise ModelUnavailable(self.down)
        if self.refused:
            raise ModelRefused(next(iter(self.refused.values())))


@dataclass(frozen=True)
class _Held:
    """A version in memory; `problem`, at the time `since`, where it is this machine's copy and not the registry's."""

    version: str
    bundle: Bundle
    problem: str = ""
    since: float = 0.0


class Registry:
    """The registered models of one kind in an experiment; a model's name there is `<experiment>-<kind>-<model>`.

    Args:
        tracking: the store; its registry is the same.
        kind: of the models.
        bundle: what their versions hold.
        cache: keeps what was loaded, and serves it while the registry is down.
        patience: seconds after which a registry that was down, or a file that was refused, is tried again. To find out
            that a server does not answer takes 5 s, that a database is locked 20 s: too long for every batch.
    """

    def __init__(
        self,
        tracking: Tracking,
        kind: str = "forecast",
        bundle: type[Bundle] = Bundle,
        cache: ChampionCache | None = None,
        patience: float = 30.0,
    ) -> None:
        self.tracking = tracking
        self.kind = kind
        self._bundle = bundle
        self.cache = cache
        self.patience = patience
        self._loaded: dict[str, _Held] = {}
        self._failed: dict[tuple[str, str], tuple[str, float]] = {}
        self._down: tuple[str, float] | None = None

    def registered_name(self, model: str) -> str:
        """A valid name of the registry: an experiment's own name may be a path, as on Databricks."""
        return "-".join([*re.findall(r"\w+", self.tracking.experiment), self.kind, model])

    def register(self, bundle: Bundle, run_id: str, key: str, tags: Mapping[str, str], note: str = "") -> str:
        """Files a bundle with its run and makes a version of it; once per key.

        Args:
            key: identity, kept as the version's tag `qts.key`; a replay finds the version that it made.
            note: the version's description, Markdown.

        Returns:
            The version.
        """
        found = self.find(bundle.model, key)
        if found is not None:
            return found[0]
        name, client = self.registered_name(bundle.model), self.tracking.client
        with reachable(self.tracking.uri), tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / ARTIFACT
            bundle.save(model, run_id)
            client.log_artifacts(run_id, str(model), ARTIFACT)
            self._show(run_id, model)
            self._describe(bundle)
            source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
            seal = {_SEAL: _sha256(model / "data" / FILE)}
            made = client.create_model_version(
                name, source, run_id, tags={**tags, **seal, "qts.key": key}, description=note[:_TEXT]
            )
            return str(made.version)

    def _show(self, run_id: str, model: Path) -> None:
        """Tells MLflow that the run has a model there: its page then shows the signature and how to try it."""
        from mlflow.models import Model

        told = json.dumps([Model.load(str(model)).get_tags_dict()])
        self.tracking.log(run_id, tags={"mlflow.log-model.history": told})

    def _describe(self, bundle: Bundle) -> None:
        """Makes the registered model, and describes it once: what somebody wrote there stays."""
        name, client = self.registered_name(bundle.model), self.tracking.client
        card = bundle.card(name)[:_TEXT]
        found = client.search_registered_models(f"name = '{name}'")
        if not found:
            client.create_registered_model(name, {"qts.job": self.kind, "qts.model": bundle.model}, card)
        elif not found[0].description:
            client.update_registered_model(name, card)

    def find(self, model: str, key: str) -> tuple[str, dict[str, str]] | None:
        """The version of a key with its tags, if there is one."""
        with reachable(self.tracking.uri):
            name = self.registered_name(model)
            for version in self.tracking.client.search_model_versions(f"name = '{name}'"):
                if version.tags.get("qts.key") == key:
                    return str(version.version), dict(version.tags)
            return None

    def set_alias(self, model: str, alias: str, version: str) -> None:
        name = self.registered_name(model)
        with reachable(self.tracking.uri):
            self.tracking.client.set_registered_model_alias(name, alias, version)
        if self.cache is not None and alias == CHAMPION:
            self.cache.name_champion(name, version)

    def drop_alias(self, model: str, alias: str) -> None:
        with reachable(self.tracking.uri):
            if alias in self.aliases(model):
                self.tracking.client.delete_registered_model_alias(self.registered_name(model), alias)

    def aliases(self, model: str) -> dict[str, str]:
        """Versions by alias; none where the model was never registered."""
        with reachable(self.tracking.uri):
            found = self.tracking.client.search_registered_models(f"name = '{self.registered_name(model)}'")
            return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}

    def serve(self, models: Sequence[str]) -> Served:
        """What to serve of each model: its champion; while that is not to be had, the last good one.

        A version is good once its file was loaded and found to be the one that was registered. While the registry is
        down, or a champion's file is gone or was tampered with, this machine's copy of the last good one serves.
        """
        champions, down = self._champions(models)
        versions: dict[str, str | None] = {}
        refused: dict[str, str] = {}
        for model, champion in champions.items():
            versions[model] = champion
            if champion is None:
                continue
            problem = self._problem(model, champion)
            if problem and not down:
                refused[model] = problem
            if not self._holds(model, champion):
                known = self._last(model)
                if known is not None:
                    self._problem(model, known)
                versions[model] = known if known is not None and self._holds(model, known) else None
        for model, version in versions.items():
            if self.cache is not None and version is not None:
                self.cache.name_champion(self.registered_name(model), version)
        return Served(versions, down, refused)

    def _champions(self, models: Sequence[str]) -> tuple[dict[str, str | None], str]:
        """The champion's version of each model, and why the registry is down; then they are the last ones known."""
        if self._down is None or time.monotonic() - self._down[1] >= self.patience:
            try:
                with reachable(self.tracking.uri):
                    where = f"name LIKE '{self.registered_name('')}%'"  # all in one request
                    found = {m.name: m.aliases for m in self.tracking.client.search_registered_models(where)}
            except ModelUnavailable as down:
                self._down = str(down), time.monotonic()
            else:
                self._down = None
                versions = {model: found.get(self.registered_name(model), {}).get(CHAMPION) for model in models}
                return {model: None if v is None else str(v) for model, v in versions.items()}, ""
        return {model: self._last(model) for model in models}, self._down[0]

    def _last(self, model: str) -> str | None:
        """The last good champion that this machine knows."""
        return None if self.cache is None else self.cache.champion(self.registered_name(model))

    def _problem(self, model: str, version: str) -> str:
        """Loads a version. Why it is not the registry's file, else empty: `_holds` tells if a copy stands in for it."""
        held = self._loaded.get(model)
        if held is not None and held.version == version:
            if not held.problem or time.monotonic() - held.since < self.patience:
                return held.problem
            del self._loaded[model]
        failed, since = self._failed.get((model, version), ("", 0.0))
        if failed and time.monotonic() - since < self.patience:
            return failed
        try:
            self.load(model, version)
        except ModelUnavailable as error:
            self._failed[model, version] = str(error), time.monotonic()
            return str(error)
        self._failed.pop((model, version), None)
        return self._loaded[model].problem

    def _holds(self, model: str, version: str) -> bool:
        held = self._loaded.get(model)
        return held is not None and held.version == version

    def load(self, model: str, version: str) -> Bundle:
        """The parameters of a version; kept in memory until another version of the model is asked for.

        Where the registry's file cannot be had, or is not the one that was registered, this machine's copy of the
        version is taken, which was compared with the registry's checksum when it was made.

        Raises:
            ModelUnavailable: there is no such version, or its files cannot be read.
            ModelRefused: the file is not the one that was registered: its checksum is another one.
        """
        held = self._loaded.get(model)
        if held is None or held.version != version:
            held = self._loaded[model] = self._fetch(model, version)
        return held.bundle

    def _fetch(self, model: str, version: str) -> _Held:
        name = self.registered_name(model)
        try:
            bundle = self._download(model, version)
        except ModelUnavailable as error:
            kept = self.cache.load(name, version, self._bundle) if self.cache is not None else None
            if kept is None:
                raise
            return _Held(version, kept, str(error), time.monotonic())
        if self.cache is not None:
            self.cache.keep(name, version, bundle)
        return _Held(version, bundle)

    def _download(self, model: str, version: str) -> Bundle:
        client = self.tracking.client
        with reachable(self.tracking.uri):
            from mlflow.artifacts import download_artifacts

            name = self.registered_name(model)
            seal = client.get_model_version(name, version).tags.get(_SEAL)
            place = client.get_model_version_download_uri(name, version)
            with tempfile.TemporaryDirectory() as folder:
                found = download_artifacts(
                    artifact_uri=f"{place}/data/{FILE}", dst_path=folder, tracking_uri=self.tracking.uri
                )
                if seal is None or _sha256(Path(found)) != seal:
                    raise ModelRefused(
                        f"The file {FILE} of {name!r} version {version} is not the one that was registered: its "
                        f"SHA-256 is not the version's tag {_SEAL}. It was changed, or the version was not made by "
                        "QTS. Move the alias to another version, or fit a new one with `qts train --once`."
                    )
                return self._bundle.read(Path(found))

    def load_alias(self, model: str, alias: str = CHAMPION) -> tuple[str, Bundle]:
        """The version that an alias points to now, and its parameters; loaded anew only when the alias has moved.

        Raises:
            ModelUnavailable: no version has this alias.
        """
        version = self.aliases(model).get(alias)
        if version is None:
            raise ModelUnavailable(
                f"No version of {self.registered_name(model)!r} has the alias {alias!r} in MLflow at "
                f"{self.tracking.uri}. Run `{self._bundle.job}` to fit one."
            )
        return version, self.load(model, version)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
