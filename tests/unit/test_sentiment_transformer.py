"""The scorer that is a model of the transformers library: a real one, made here, small and with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from qts import cli
from qts.errors import ConfigError
from qts.market.sentiment.scorer import LABELS, build

_TEXTS = ["The company said sales rose.", "Profit fell", "sales"]
#: In an order of its own, for a model's labels need not come in ours.
_MINE = ("positive", "negative", "neutral")


def made(folder: Path, labels: tuple[str, ...] = _MINE) -> Path:
    """A classifier in a folder, saved as its library does."""
    folder.mkdir()
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        ".",
        "the",
        "company",
        "said",
        "sales",
        "profit",
        "rose",
        "fell",
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=1.0,
        id2label=dict(enumerate(labels)),
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("models") / "mine")


def test_scores_are_the_model_s_probabilities(folder: Path) -> None:
    """Against the model's own logits, one text at a time: no padding, no pipeline."""
    found = build(str(folder)).score([_TEXTS[0], None, *_TEXTS[1:], " "])
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for place, text in ((0, _TEXTS[0]), (2, _TEXTS[1]), (3, _TEXTS[2])):
        with torch.no_grad():
            p = torch.softmax(model(**tokens(text, return_tensors="pt")).logits[0], dim=0).numpy()
        assert found.score[place] == pytest.approx(p[0] - p[1], abs=1e-6)
        assert found.label[place] == _MINE[p.argmax()]
        assert found.uncertainty[place] == pytest.approx(-(p * np.log(p)).sum() / np.log(3), abs=1e-6)
    assert np.ptp(found.score) > 0.1
    assert [(found.score[n], found.label[n]) for n in (1, 4)] == [(0, "neutral")] * 2


def test_the_command_takes_the_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, out = tmp_path / "in.csv", tmp_path / "out.csv"
    pd.DataFrame({"sentence": _TEXTS}).to_csv(given, index=False)
    arguments = ["--input", given, "--text", "sentence", "--output", out, "--scorer", folder, "--json"]
    assert cli.main(["sentiment", "score", *map(str, arguments)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(_TEXTS)
    assert set(pd.read_csv(out)["label"]) <= set(LABELS)


def test_other_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="labels"):
        build(str(made(tmp_path / "other", ("bad", "good", "so so"))))


def test_weights_in_a_pickle_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "pickled")
    weights = folder / "model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ConfigError, match="no model"):
        build(str(folder))
