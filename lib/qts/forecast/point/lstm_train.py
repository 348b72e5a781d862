"""How the recurrent network learns. Imports torch only when it does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from qts.market.bar import Array, State

_BATCH = 512  # windows at most; fewer where an epoch would have less than
_STEPS = 40
_RATE = 3e-3
_DECAY = 1e-4  # of the weights
_HELD_OUT = 0.9  # of each series' length; windows that end later judge, they do not teach
_PATIENCE = 3  # epochs without gain
_MOST = 150_000  # windows an epoch


@dataclass(frozen=True)
class Windows:
    """What the network learns from.

    Attributes:
        inputs: scaled changes, shape (W, lags).
        targets: scaled moves to each step ahead, shape (W, H).
        recency: where in its series a window ends, in (0, 1], shape (W,).
    """

    inputs: Array
    targets: Array
    recency: Array


def train(windows: Windows, hidden: int, epochs: int, seed: int) -> State:
    """Weights that forecast the held-out windows best, as plain arrays; equal arguments give equal bits.

    On a GPU where there is one. The generators of the process are left as they were.
    """
    import torch

    rng = np.random.default_rng(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    early = np.flatnonzero(windows.recency <= _HELD_OUT)
    late = np.flatnonzero(windows.recency > _HELD_OUT)
    if not (len(early) and len(late)):
        early = late = np.arange(len(windows.recency))
    with _deterministic(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        net = _network(hidden, windows.targets.shape[1]).to(device)
        inputs, targets = (
            torch.as_tensor(np.ascontiguousarray(values, np.float32), device=device)
            for values in (windows.inputs, windows.targets)
        )
        optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
        best, best_loss, worse = _plain(net), _loss_over(net, inputs, targets, late), 0
        for _ in range(epochs):
            order = rng.permutation(early)[:_MOST]
            batch = min(_BATCH, max(32, len(order) // _STEPS))
            for begin in range(0, len(order), batch):
                rows = torch.as_tensor(order[begin : begin + batch], device=device)
                loss = _loss(net(inputs[rows]), targets[rows], net.tail)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
            judged = _loss_over(net, inputs, targets, late)
            if judged < best_loss:
                best, best_loss, worse = _plain(net), judged, 0
            else:
                worse += 1
                if worse == _PATIENCE:
                    break
    return best


def _network(hidden: int, horizon: int) -> Any:
    import torch

    class Network(torch.nn.Module):
        """A one-layer LSTM and a linear head: locations and raw scales of all steps."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(1, hidden, batch_first=True)
            self.head = torch.nn.Linear(hidden, 2 * horizon)
            self.tail = torch.nn.Parameter(torch.tensor(4.0))
            torch.nn.init.zeros_(self.head.weight)
            torch.nn.init.zeros_(self.head.bias)
            with torch.no_grad():
                self.head.bias[horizon:] = 0.92

        def forward(self, inputs: Any) -> Any:
            found, _ = self.lstm(inputs[:, :, None])
            return self.head(found[:, -1])

    return Network()


def _loss(output: Any, target: Any, tail: Any) -> Any:
    """Mean negative log likelihood of Student's t."""
    import torch

    location, raw = output.chunk(2, dim=1)
    scale, df = torch.nn.functional.softplus(raw) + 1e-3, 2.1 + torch.nn.functional.softplus(tail)
    z = (target - location) / scale
    constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(torch.pi * df)
    return -(constant - torch.log(scale) - (df + 1) / 2 * torch.log1p(z * z / df)).mean()


def _loss_over(net: Any, inputs: Any, targets: Any, rows: Any) -> float:
    import torch

    total = 0.0
    with torch.no_grad():
        for begin in range(0, len(rows), 8192):
            chosen = torch.as_tensor(rows[begin : begin + 8192], device=inputs.device)
            total += float(_loss(net(inputs[chosen]), targets[chosen], net.tail)) * len(chosen)
    return total / len(rows)


def _plain(net: Any) -> State:
    return {name: value.detach().cpu().numpy().astype(np.float64) for name, value in net.state_dict().items()}


@contextmanager
def _deterministic() -> Iterator[None]:
    """Kernels whose sums run in one order, until the end of the block.

    On one core, too: products of these sizes gain nothing from a second one, and where other programs want it, threads
    that wait for each other took nine times the processor time.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS needs for it
    before, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads)
