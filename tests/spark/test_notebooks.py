"""The notebooks run from top to bottom on what the pipeline wrote, in a kernel of their own."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from trade_help import undisturbed

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# jupyter_client sets a policy of asyncio that Python 3.14 deprecates, and its sockets are closed by the collector.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_runs_to_its_end(spark, tmp_path_factory, monkeypatch, path):
    settings = undisturbed(tmp_path_factory)
    monkeypatch.setenv("QTS_WORKDIR", str(settings.workdir))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "lib"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    # Over sockets of the file system, whose paths have to be short, for ports may be taken before a kernel has them. A
    # cell takes as long as it takes: a kernel that dies is noticed.
    with TemporaryDirectory() as sockets:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", sockets)
        manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        NotebookClient(
            notebook, km=manager, timeout=None, startup_timeout=600, resources={"metadata": {"path": str(path.parent)}}
        ).execute()
    shown = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "executed again: identical" in shown
    assert shown.count("image/png") == 2
