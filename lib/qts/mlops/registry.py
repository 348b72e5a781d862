"""Model versions in MLflow's registry: register, move aliases, load by alias."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from qts.errors import ModelRefused, ModelUnavailable
from qts.mlops.bundle import FILE, Bundle
from qts.mlops.cache import ChampionCache
from qts.mlops.tracking import Tracking, reachable

CHAMPION, CHALLENGER = "champion", "challenger"
#: Tag of a version: the checksum of its file of parameters. It lives in the registry's database, apart from the file.
_SEAL = "qts.sha256"


class Registry:
    """The registered models of one kind in an experiment; a model's name there is `<experiment>-<kind>-<model>`.

    Args:
        tracking: the store; its registry is the same.
        kind: of the models.
        bundle: what their versions hold.
        cache: keeps what was loaded, and serves it while the registry is down.
    """

    def __init__(
        self,
        tracking: Tracking,
        kind: str = "forecast",
        bundle: type[Bundle] = Bundle,
        cache: ChampionCache | None = None,
    ) -> None:
        self.tracking = tracking
        self.kind = kind
        self._bundle = bundle
        self.cache = cache
        self._loaded: dict[str, tuple[str, Bundle]] = {}

    def registered_name(self, model: str) -> str:
        """A valid name of the registry: an experiment's own name may be a path, as on Databricks."""
        return "-".join([*re.findall(r"\w+", self.tracking.experiment), self.kind, model])

    def register(self, bundle: Bundle, run_id: str, key: str, tags: Mapping[str, str]) -> str:
        """Files a bundle with its run and makes a version of it; once per key.

        Args:
            key: identity, kept as the version's tag `qts.key`; a replay finds the version that it made.

        Returns:
            The version.
        """
        found = self.find(bundle.model, key)
        if found is not None:
            return found[0]
        name, client = self.registered_name(bundle.model), self.tracking.client
        with reachable(self.tracking.uri), tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            bundle.save(model, run_id)
            client.log_artifacts(run_id, str(model), "model")
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            source = f"{client.get_run(run_id).info.artifact_uri}/model"
            seal = {_SEAL: _sha256(model / "data" / FILE)}
            made = client.create_model_version(name, source, run_id, tags={**tags, **seal, "qts.key": key})
            return str(made.version)

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
            self.cache.name_champions({**self.cache.champions(), name: version})

    def drop_alias(self, model: str, alias: str) -> None:
        with reachable(self.tracking.uri):
            if alias in self.aliases(model):
                self.tracking.client.delete_registered_model_alias(self.registered_name(model), alias)

    def aliases(self, model: str) -> dict[str, str]:
        """Versions by alias; none where the model was never registered."""
        with reachable(self.tracking.uri):
            found = self.tracking.client.search_registered_models(f"name = '{self.registered_name(model)}'")
            return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}

    def champions(self, models: Sequence[str]) -> tuple[dict[str, str | None], str]:
        """The champion's version of each model, None where there is none, and why the registry is down, else empty.

        While it is down the champions are the last ones that this machine knew.

        Raises:
            ModelUnavailable: it is down, and this machine knows no champion of any of the models.
        """
        try:
            found = {model: self.aliases(model).get(CHAMPION) for model in models}
        except ModelUnavailable as down:
            known = self.cache.champions() if self.cache is not None else {}
            last = {model: known.get(self.registered_name(model)) for model in models}
            if not any(last.values()):
                raise
            return last, str(down)
        if self.cache is not None:
            now = {self.registered_name(model): version for model, version in found.items() if version is not None}
            self.cache.name_champions({**self.cache.champions(), **now})
        return found, ""

    def load(self, model: str, version: str) -> Bundle:
        """The parameters of a version; kept in memory until another version of the model is asked for.

        Raises:
            ModelUnavailable: there is no such version, or its files cannot be read.
            ModelRefused: the file is not the one that was registered: its checksum is another one.
        """
        held = self._loaded.get(model)
        if held is not None and held[0] == version:
            return held[1]
        try:
            bundle = self._download(model, version)
        except ModelRefused:
            raise
        except ModelUnavailable:
            name = self.registered_name(model)
            kept = self.cache.load(name, version, self._bundle) if self.cache is not None else None
            if kept is None:
                raise
            bundle = kept
        else:
            if self.cache is not None:
                self.cache.keep(self.registered_name(model), version, bundle)
        self._loaded[model] = (version, bundle)
        return bundle

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
