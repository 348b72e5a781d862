"""The notebooks run from top to bottom on what the pipeline wrote, in a kernel of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from trade_help import undisturbed

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: In a process of its own, for the client leaves sockets and loops to the collector, which finds them in another test.
#: Over sockets of the file system, for ports might be taken before a kernel has them; their paths have to be short. A
#: cell takes as long as it takes: a kernel that dies is noticed.
EXECUTE = """
import sys
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

path, output, folder, sockets = sys.argv[1:]
notebook = nbformat.read(path, as_version=4)
manager = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
resources = {"metadata": {"path": folder}}
client = NotebookClient(notebook, km=manager, timeout=None, startup_timeout=600, resources=resources)
client.execute(cleanup_kc=True)
nbformat.write(notebook, output)
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(spark, tmp_path_factory, tmp_path, path):
    settings = undisturbed(tmp_path_factory)
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") for cell in cells), "commit notebooks without outputs"
    output = tmp_path / path.name
    with TemporaryDirectory() as sockets:
        environment = os.environ | {
            "QTS_WORKDIR": str(settings.workdir),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), os.environ.get("PYTHONPATH", "")]),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "JUPYTER_RUNTIME_DIR": sockets,
        }
        command = [sys.executable, "-c", EXECUTE, str(path), str(output), str(path.parent), sockets]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    shown = "".join(str(cell.get("outputs")) for cell in nbformat.read(output, as_version=4).cells)
    assert "executed again: identical" in shown
    assert shown.count("image/png") == 2
