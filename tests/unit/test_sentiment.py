"""The finance lexicon: directions, comparisons, negation; unseen sentences; whatever a text may hold."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
import pytest
from finance_sentences import labelled
from hypothesis import given
from hypothesis import strategies as st

from qts import cli
from qts.errors import ConfigError, SetupError
from qts.market.sentiment import words
from qts.market.sentiment.lexicon import Lexicon
from qts.market.sentiment.scorer import build


def score(text: str | None) -> float:
    return float(Lexicon().score([text]).score[0])


def label(text: str | None) -> str:
    return Lexicon().score([text]).label[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the figure decides what a rise is worth
        ("Profit rose.", "positive"), ("Costs rose.", "negative"), ("Costs fell.", "positive"),
        ("The loss widened.", "negative"), ("The loss narrowed.", "positive"), ("Margins narrowed.", "negative"),
        ("Unemployment decreased.", "positive"), ("The company reduced its staff.", "negative"),
        ("Raw material prices increased.", "negative"), ("Share prices increased.", "positive"),
        # amounts side by side, whatever the verb
        ("Operating profit was EUR 13.1 mn, compared to EUR 8.7 mn in 2007.", "positive"),
        ("Operating profit was EUR 8.7 mn, compared to EUR 13.1 mn in 2007.", "negative"),
        ("Net debt was EUR 5 mn against EUR 9 mn.", "positive"),
        ("The result was a loss of EUR 2 mn versus a profit of EUR 1 mn.", "negative"),
        ("A profit of EUR 1 mn compared with a loss of EUR 2 mn.", "positive"),
        ("A loss of EUR 1 mn compared with a loss of EUR 2 mn.", "positive"),
        ("Sales went from EUR 900 thousand to EUR 1.2 mn.", "positive"),
        ("Sales went from EUR 1.2 bn to EUR 900 mn.", "negative"),
        ("EPS was EUR0 .12 , against EUR0 .08 .", "positive"),
        ("Sales were EUR 5 mn (USD 7 mn), compared to EUR 4 mn (USD 6 mn).", "positive"),
        ("Sales were EUR 5 mn in 2006, compared to EUR 5 mn in 2005.", "neutral"),
        ("Market share was 31 %, down from 33 %.", "negative"),
        ("Cash flow was EUR 7 mn, compared to a negative EUR 68 mn.", "positive"),
        ("Profit before taxes decreased by 9 % to EUR 9 mn, compared to EUR 12 mn.", "negative"),
        ("Sales were euro 128 mn, about USD 163 mn, a 3.3-percent increase compared with euro 124 mn.", "positive"),
        ("Operating profit was EUR 8.1 mn (EUR 6.4 mn).", "positive"),
        ("Net sales were EUR 8.1 million ( 9.4 ).", "negative"),
        ("Net sales were EUR 8.1 million (USD 9.4 million).", "neutral"),
        ("Net sales were EUR 45.1 million (2007).", "neutral"),
        # what is no news
        ("It had 1,230 employees, compared to 1,225 a year earlier.", "neutral"),
        ("The value of the deal exceeds EUR 5 million.", "neutral"),
        ("The investor raised its stake to 5.2 % from 4.9 %.", "neutral"),
        ("The increase in share capital was registered.", "neutral"),
        ("The company raised EUR 20 mn in a share issue.", "neutral"),
        ("The start-up was set up in 2004.", "neutral"),
        ("The offer runs from 3 May to 12 June.", "neutral"),
        ("Net sales were EUR 12 mn in 2006.", "neutral"),
        # events
        ("The yard won an order for two ferries.", "positive"), ("The mill lays off 40 people.", "negative"),
        ("It signed a contract with the city.", "positive"), ("It signed an agreement to sell a plot.", "neutral"),
        ("Earnings missed expectations.", "negative"), ("Earnings beat expectations.", "positive"),
        ("The FDA approved the drug.", "positive"), ("The drug must be approved by the FDA.", "neutral"),
        ("The trial did not meet its goals.", "negative"), ("The trial met its main goal.", "positive"),
        ("The firm is in receivership.", "neutral"), ("The firm went into receivership.", "negative"),
        ("Analysts cut the stock to underweight", "negative"), ("Analysts cut glass to sell lamps.", "neutral"),
        # a year ago, in brackets, in another clause, in other currencies
        ("Sales were EUR 5 mn, whereas a year ago they were EUR 7 mn.", "negative"),
        ("Sales were EUR 5 mn; twelve months earlier they had been EUR 4 mn.", "positive"),
        ("Sales were EUR 5 mn, whereas a year ago costs were EUR 7 mn.", "neutral"),
        ("The margin was 14.1% (12.9%).", "positive"), ("The discount rate was 3.1% (3.0%).", "neutral"),
        ("EBIT: EUR 5 mn (2019: EUR 4 mn)", "positive"), ("EBIT was EUR 5 mn (loss of EUR 4 mn).", "positive"),
        ("Profit was Rs 41 crore, compared to Rs 4,200 lakh.", "negative"),
        ("Sales were CHF 1.92bn, against CHF 1.75bn.", "positive"),
        ("Sales were EUR 102.4 mn, compared to EUR 102.1 mn.", "neutral"),
        ("The loss widened as sales fell.", "negative"), ("It raised its 2024 forecast.", "positive"),
        ("Footfall was 9% lower.", "negative"), ("Rents made up 9% of sales.", "neutral"),
        # sums in two currencies, ranges, amounts of other kinds
        ("Sales were 9.1 mln euro $ 12.9 mln, compared to 9.6 mln euro $ 11.8 mln.", "negative"),
        ("Sales were 9.6 million euros ( 9.1 million euros ).", "positive"),
        ("Profit fell from 6 to 4 million euros.", "negative"), ("Profit rose from 4 to 6 million euros.", "positive"),
        ("Sales are seen at EUR 90-110 mn, compared to EUR 100 mn in 2009.", "neutral"),
        ("Sales are seen in a range of 20 % -40 %.", "neutral"),
        ("Profit was EUR 60 mn, or EUR 0.33 per share, compared to EUR 17 mn.", "positive"),
        ("Profit was 8 mln euro in fiscal 2005-06, against 3 mln euro.", "positive"),
        ("A loss of EUR 2 mn, down from a profit of EUR 1 mn.", "negative"),
        ("Cash flow was a negative EUR 8 mn, compared to EUR 3 mn.", "negative"),
        ("The expense ratio weakened to 97 % from 92 %.", "negative"),
        ("The goal was lifted to 330 crowns ( $ 42.4 - 35.2 euro ) from 310 crowns.", "positive"),
        ("Its sieves come in sizes ranging from 4 to 60 cm.", "neutral"),
        ("Profit was EUR 9 mn, clearly more than the EUR 7 mn of 2009.", "positive"),
        ("A profit of EUR 1 mn, after a loss of EUR 2 mn in spring.", "positive"),
        ("It had 900,000 passengers, compared to 1.2 million.", "negative"),
        ("Traffic rose from 900,000 to 1.2 million passengers.", "positive"),
        ("EBIT was EUR -2 mn ( EUR 1 mn ).", "negative"), ("Some 45 % came from Spain and 30 % from Italy.", "neutral"),
        ("The costs of the sales unit were EUR 7 mn, against EUR 6 mn.", "negative"),
        # what moved, and what did not
        ("Beer sales went up considerably.", "positive"), ("Traffic is expected to go down.", "negative"),
        ("Polar Mills sees full-year profit down y-y", "negative"), ("The index added 2 % on Monday.", "positive"),
        ("The market is calm, he added.", "neutral"), ("The costs of the segment rose.", "negative"),
        ("Compared with the index, which rose 2 %, this was a price change of -0.4 %.", "negative"),
        ("Shares outstanding increased to 12 million.", "neutral"), ("The lift has a higher speed.", "neutral"),
        ("Higher than expected costs burdened the result.", "negative"),
        ("Lower costs improved the margin.", "positive"), ("A smaller than expected loss was posted.", "positive"),
        ("The company declined to comment.", "neutral"), ("Profit declined to EUR 4 mn.", "negative"),
        ("Analysts had expected a smaller profit.", "positive"), ("Rents have kept rising.", "positive"),
        ("It carried 11 % more passengers.", "positive"), ("Imports are pushing down the price of milk.", "negative"),
        ("The waiting time for customers was cut.", "positive"),
        # deals, courts, raters, standing
        ("The design was chosen by a shipyard.", "positive"), ("It closed the sale of its Polish mill.", "neutral"),
        ("The lease agreement has been signed for ten years.", "neutral"),
        ("It deepened its long cooperation with the operator.", "positive"),
        ("The authority proposed a fine of EUR 3 mn on the dairy.", "negative"),
        ("The bakery will not pay a dividend.", "negative"), ("The unit turned a EUR 12 mn profit.", "positive"),
        ("The stock went to in-line from underperform.", "positive"), ("The merger was called off.", "negative"),
        ("The merger makes it become the largest dairy of the region.", "positive"),
        ("Polar Mills is a successful international baking company.", "neutral"),
        ("The mill upgraded its network.", "neutral"), ("Sales will remain below the 2009 level.", "negative"),
        ("The worst is over.", "positive"),
        ("It revised its forecast upwards.", "positive"), ("The talks broke down.", "negative"),
        ("It was moved from hold to buy.", "positive"), ("The strong euro is felt.", "neutral"),
        ("Sales fell behind in all markets but Spain.", "negative"), ("No delays are seen.", "neutral"),
        ("The talks concern the Oulu mill.", "neutral"), ("There are concerns over its debt.", "negative"),
        ("The mill is less profitable.", "negative"), ("The line is more efficient now.", "positive"),
        ("A lender has filed for Chapter 11.", "negative"), ("The pump was well received.", "positive"),
        ("The strike ended on Sunday.", "positive"), ("Losses of the year ended 31 December", "negative"),
        # troubles that ended, and terms that are none
        ("The dispute was resolved.", "positive"), ("It resolved the dispute.", "positive"),
        ("The shares dropped on weak demand.", "negative"), ("It helps to prevent fraud.", "neutral"),
        ("It reported fewer faults.", "positive"), ("It didn't fail.", "neutral"),
        ("The strike price is EUR 3.", "neutral"), ("The cancellation of 500 shares was registered.", "neutral"),
        ("An impairment loss is recognised when value is lost.", "neutral"),
    ],
)  # fmt: skip
def test_what_a_sentence_says(text, expected):
    assert label(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Although sales rose, profit fell.", "negative"),
        ("Profit rose despite falling sales.", "positive"),
        ("In spite of weak demand, sales rose.", "positive"),
        ("Sales rose, but profit fell.", "negative"),
        ("Not only sales fell but profit fell too.", "negative"),
    ],
)
def test_what_prevails_decides(text, expected):
    assert label(text) == expected


def test_but_takes_back_what_was_said_before():
    """Both halves alone weigh the same; joined, the second one decides, whichever it is."""
    rise, fall = "sales rose", "orders fell"
    assert score(rise) == -score(fall)
    assert score(f"{rise} but {fall}") == -score(f"{fall} but {rise}") < 0
    assert score(f"although {rise}, {fall}") == score(f"{fall}, although {rise}") < 0


def test_manner_scales_a_cue():
    plain = score("Profit rose.")
    assert score("Profit rose sharply.") > plain > score("Profit rose slightly.") > 0
    assert score("Profit did not rise.") < 0
    assert score("There were no problems.") > score("There were problems.")
    assert 0 < score("Profit may rise.") < plain
    low, high = (
        Lexicon().score(["Profit rose to 5 mn.", "Profit may possibly rise if demand seems likely."]).uncertainty
    )
    assert low == 0 < high <= 1


@given(st.text(max_size=300))
def test_any_text_has_a_score(text):
    found = Lexicon().score([text, None])
    assert np.isfinite(found.score).all()
    assert (np.abs(found.score) <= 1).all()
    assert found.label[1] == "neutral"
    assert found.score[1] == 0
    assert ((found.uncertainty >= 0) & (found.uncertainty <= 1)).all()


@given(st.lists(st.sampled_from([text for text, _ in labelled()]), min_size=1, max_size=8))
def test_a_score_depends_on_its_text_alone(texts):
    together = Lexicon().score(texts)
    assert together.score.tolist() == [score(text) for text in texts]
    assert together.label == [label(text) for text in texts]


@given(old=st.integers(1, 10**6), new=st.integers(1, 10**6), unit=st.sampled_from(["", " thousand", " mn", "bn"]))
def test_turning_a_comparison_turns_its_sign(old, new, unit):
    first, second = (
        score(f"Profit was EUR {a}{unit}, compared to EUR {b}{unit}.") for a, b in ((new, old), (old, new))
    )
    assert first == -second
    assert np.sign(first) == np.sign(new - old)


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00\ud800", "Liikevoitto kasvoi 13,1 miljoonaan euroon.", "营业利润增长", "1" * 100_000, "(" * 50_000,
     "1 ," * 100_000, "signed " * 100_000, "won an " * 150_000, "a" * 1_000_000, "eur 1 ( " * 50_000,
     "year ago it was 5 " * 50_000, "although in spite of , " * 50_000],
    ids=lambda text: text[:6].encode("unicode_escape").decode() + f"_{len(text)}",
)  # fmt: skip
def test_odd_texts_are_neutral_and_quick(text):
    began = time.thread_time()  # of this thread alone, and of nobody who has the processor meanwhile
    assert label(text) == "neutral"
    assert time.thread_time() - began < 20  # 1.4 is the most; what goes over a text again and again takes minutes


def test_words_are_in_one_list_of_tone_only():
    assert not words.POSITIVE.keys() & words.NEGATIVE.keys()
    assert not words.UP & words.DOWN
    assert not words.GOOD & words.BAD
    assert words.UP | words.DOWN >= words.NEEDS_FIGURE


def test_a_scorer_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="Nothing is downloaded"):
        build("finbert")
    monkeypatch.setitem(sys.modules, "transformers", None)  # as where it is not installed
    with pytest.raises(SetupError, match=r"qts\[sentiment\]"):
        build(str(tmp_path))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict, str]:
    code = cli.main(["sentiment", "score", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


@pytest.mark.parametrize(("ending", "encoding"), [("csv", "utf-8"), ("csv", "latin-1"), ("parquet", None)])
def test_the_command_keeps_the_rows(ending, encoding, tmp_path, capsys):
    file, out = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    texts = ["Osnabrück's profit rose, again.", "", "NA", "Sales fell 5 %."]
    table = pd.DataFrame({"id": ["007", "2", "3", "4"], "sentence": texts, "label": ["a", "b", "c", "d"]})
    if encoding:
        table.to_csv(file, index=False, encoding=encoding)
    else:
        table.loc[1, "sentence"] = None
        table.to_parquet(file)
    code, told, _ = run(capsys, "--input", file, "--text", "sentence", "--output", out)
    assert code == 0
    assert told["rows"] == 4
    assert told["output"] == str(out)
    assert told["empty"] == 1
    rows = pd.read_csv(out, dtype={"id": str}, keep_default_na=False) if encoding else pd.read_parquet(out)
    assert rows["label"].tolist() == ["positive", "neutral", "neutral", "negative"]
    assert rows["input_label"].tolist() == ["a", "b", "c", "d"]
    assert rows["id"].tolist() == ["007", "2", "3", "4"]
    assert rows["sentence"].tolist()[::2] == texts[::2]
    assert rows["score"].between(-1, 1).all()


def test_a_file_that_was_scored_before_keeps_every_column(tmp_path, capsys):
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text("text,label,input_label\nSales rose.,a,b\n")
    assert run(capsys, "--input", file, "--text", "text", "--output", out)[0] == 0
    row = pd.read_csv(out).iloc[0]
    assert row[["input_label", "input_input_label", "label"]].tolist() == ["b", "a", "positive"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "nope.csv", "--text", "t", "--output", "o.csv"], "There is no file nope.csv"),
        (["--input", "x.csv", "--text", "text", "--output", "o.csv"], "has no column 'text'"),
        (["--input", "x.csv", "--text", "t", "--output", "no/folder/o.csv"], "cannot be written"),
        (["--input", "x.csv", "--text", "t", "--output", "o.csv", "--scorer", "finbert"], "There is no scorer"),
        (["--input", "empty.csv", "--text", "t", "--output", "o.csv"], "has no rows"),
        (["--input", "numbers.parquet", "--text", "t", "--output", "o.csv"], "not texts"),
        (["--input", "x.csv", "--text", "t"], "--output"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"t": ["a"]}).to_csv("x.csv", index=False)
    pd.DataFrame({"t": []}).to_csv("empty.csv", index=False)
    pd.DataFrame({"t": [1.5]}).to_parquet("numbers.parquet")
    code, told, err = run(capsys, *arguments)
    assert code == 2
    assert not told
    assert message in err
    assert len(err.strip().splitlines()) == 1
