"""The batch function as Spark calls it: whatever goes wrong inside comes out as an error that Py4J can pass on."""

from __future__ import annotations

import pytest

from qts.pipeline.streams import Guarded


@pytest.mark.parametrize("raised", [ValueError("bad"), SystemExit(0), KeyboardInterrupt(), GeneratorExit()])
def test_nothing_but_exceptions_leaves_a_batch(raised):
    def work(rows, batch):
        raise raised

    guarded = Guarded(work)
    with pytest.raises(Exception, match="bad" if isinstance(raised, ValueError) else type(raised).__name__):
        guarded(None, 0)
    assert isinstance(guarded.error, Exception)
