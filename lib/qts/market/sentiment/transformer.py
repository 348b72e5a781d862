"""A classifier of the transformers library that the user keeps in a folder; nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qts.errors import ConfigError, SetupError
from qts.market.sentiment.scorer import LABELS, Scores

#: Texts that go through the model together.
_BATCH = 32


@dataclass(frozen=True)
class Transformer:
    """Scores P(positive) - P(negative) of a text-classification pipeline with those labels, such as FinBERT.

    Source: D. Araci, "FinBERT: Financial Sentiment Analysis with Pre-trained Language Models" (2019).

    Attributes:
        name: of the model's folder.
        classify: texts to a list of {label, score} for each; transformers' pipeline with `top_k=None`.
    """

    name: str
    classify: Callable[[list[str]], Sequence[Sequence[Mapping[str, Any]]]]

    @classmethod
    def load(cls, folder: Path) -> Transformer:
        """The model in a folder.

        Raises:
            SetupError: transformers is not installed.
            ConfigError: the folder holds no classifier with labels negative, neutral and positive.
        """
        try:
            from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
        except ImportError as error:
            raise SetupError(
                f"The scorer {str(folder)!r} needs the package transformers ({error}): `pip install qts[sentiment]`, "
                "on every worker too, or use the scorer 'lexicon'."
            ) from error
        try:
            classify = pipeline(
                "text-classification",
                # A pickle of weights could run code.
                model=AutoModelForSequenceClassification.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True
                ),
                tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
                top_k=None,
                truncation=True,
                batch_size=_BATCH,
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} holds no model that transformers can load: {_first_line(error)}") from error
        model = cls(folder.resolve().name, classify)
        model.score(["Sales rose."])
        return model

    def score(self, texts: Sequence[str | None]) -> Scores:
        """See `Scorer`; uncertainty is the entropy of the three probabilities as a share of its maximum."""
        said = [n for n, text in enumerate(texts) if isinstance(text, str) and text.strip()]
        probability = np.tile([0.0, 1.0, 0.0], (len(texts), 1))
        found = self.classify([str(texts[n]) for n in said]) if said else []
        for n, classes in zip(said, found, strict=True):
            by_label = {str(entry["label"]).lower(): float(entry["score"]) for entry in classes}
            if set(by_label) != set(LABELS):
                raise ConfigError(f"The model {self.name} has labels {sorted(by_label)}; expected {', '.join(LABELS)}.")
            probability[n] = [by_label[label] for label in LABELS]
        logs = np.log(np.where(probability > 0, probability, 1.0))
        entropy = -(probability * logs).sum(axis=1) / np.log(len(LABELS))
        label = [LABELS[n] for n in probability.argmax(axis=1)]
        return Scores(probability[:, 2] - probability[:, 0], label, np.clip(entropy, 0, 1))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
