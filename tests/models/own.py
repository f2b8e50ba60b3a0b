"""A backbone as a user would write it: a file with a factory, small and random from a seed."""

from pathlib import Path

GOOD = '''
import torch
from torch import nn
from toolkit.models.own_code import OwnModel


class Layer(nn.Module):
    def __init__(self, width, kernel):
        super().__init__()
        self.convolution = nn.Conv1d(width, 16, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(1, 16)  # over all of time

    def forward(self, states):
        return self.norm(torch.tanh(self.convolution(states.transpose(1, 2)))).transpose(1, 2)


class Net(nn.Module):
    """Frames of 320 samples, and two layers that look across time."""

    def __init__(self, entering=16):
        super().__init__()
        self.enter = nn.Linear(320, entering)
        self.layers = nn.ModuleList([Layer(entering, 5), Layer(16, 3)])

    def forward(self, frames):
        states = self.enter(frames)
        for layer in self.layers:
            states = layer(states)
        return states


def prepare(clip):
    return {"frames": torch.from_numpy(clip[: len(clip) // 320 * 320].reshape(1, -1, 320).copy())}


def large():
    torch.manual_seed(3)
    return OwnModel(Net(), prepare, layers="layers.*")
'''


def write(folder: Path, old: str = "", new: str = "", name: str = "mine.py") -> Path:
    """The file, with one text in place of another."""
    assert old in GOOD
    file = folder / name
    file.write_text(GOOD.replace(old, new) if old else GOOD, encoding="utf-8")
    return file
