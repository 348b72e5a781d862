"""Where the jobs keep runs and models: one experiment, one folder of artefacts, one of copies for all of them."""

from __future__ import annotations

from qts.mlops.cache import ChampionCache
from qts.mlops.tracking import Tracking
from qts.settings import Settings


def tracking_of(settings: Settings) -> Tracking:
    """The jobs' runs in MLflow."""
    return Tracking(settings.tracking_uri, settings.mlflow.experiment, settings.workdir / "mlartifacts")


def cache_of(settings: Settings) -> ChampionCache:
    """The champions' copies on this machine, which serve while the registry is down."""
    return ChampionCache(settings.workdir / "champions")
