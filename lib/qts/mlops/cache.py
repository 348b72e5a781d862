"""The last champions on this machine's disk, for the time when the registry cannot be reached."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from qts.mlops.bundle import Bundle

_CHAMPION = "champion"


@dataclass(frozen=True)
class ChampionCache:
    """Copies of model versions that were loaded, and which of them the champions were.

    Several jobs share it: each model has a folder of its own, and files come and go as a whole.

    Attributes:
        folder: made when something is kept.
    """

    folder: Path

    def keep(self, name: str, version: str, bundle: Bundle) -> None:
        """Keeps a version; others of the same model go, but for the champion.

        A registry that was made anew counts from 1 again: of one version only the newest file is kept.
        """
        text = bundle.to_json()
        place = self._place(name)
        place.mkdir(parents=True, exist_ok=True)
        kept = place / f"{version}-{_digest(text)}.json"
        if not kept.exists():
            _write(kept, text)
            champion = self.champion(name)
            for other in set(place.glob("*.json")) - {kept}:
                of = other.name.split("-")[0]
                if of == version or of != champion:
                    other.unlink(missing_ok=True)  # another job may have been quicker

    def load(self, name: str, version: str, kind: type[Bundle] = Bundle) -> Bundle | None:
        """A version, or None where it is not kept or its file was damaged."""
        for file in self._place(name).glob(f"{version}-*.json"):
            with contextlib.suppress(FileNotFoundError):  # replaced meanwhile
                if file.stem == f"{version}-{_digest(file.read_text(encoding='utf-8'))}":
                    return kind.read(file)
        return None

    def name_champion(self, name: str, version: str) -> None:
        """Remembers which version the champion was."""
        if version != self.champion(name):
            self._place(name).mkdir(parents=True, exist_ok=True)
            _write(self._place(name) / _CHAMPION, version)

    def champion(self, name: str) -> str | None:
        """What was remembered last."""
        file = self._place(name) / _CHAMPION
        return file.read_text(encoding="utf-8") if file.exists() else None

    def _place(self, name: str) -> Path:
        return self.folder / name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _write(file: Path, text: str) -> None:
    """As a whole or not at all."""
    draft = file.with_name(f".{uuid.uuid4().hex}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)
