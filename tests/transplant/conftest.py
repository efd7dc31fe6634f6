"""Small models written as other people write theirs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    """As in torchvision: one ReLU module, in place, at two widths."""

    def __init__(self, width=4, expansion=4):
        super().__init__()
        wide = width * expansion
        self.conv1 = nn.Conv2d(wide, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wide, 1)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x
        return self.relu(out)


class Functional(nn.Module):
    """Calls of functions in every spelling, in a module and in its child."""

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 5)

        def forward(self, x):
            return F.gelu(self.linear(x))

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.inner = self.Inner()
        self.last = nn.Linear(5, 2)
        self.act = nn.ReLU()

    def forward(self, x):
        x = F.relu(self.conv(x), inplace=True).mean((2, 3))
        x = self.act(self.inner(x)).relu() + torch.relu(input=x[:, :5])
        return self.last(x).sigmoid()


class Attention(nn.Module):
    """A block on [batch, tokens, width], its activation a class that torch does not know."""

    class QuickGELUActivation(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    def __init__(self, width=8):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)
        self.act_fn = self.QuickGELUActivation()

    def forward(self, tokens, scale=1.0):
        x = self.norm(tokens)
        x = tokens + self.attend(x, x, x, need_weights=False)[0] * scale
        return {"hidden": x + self.down(self.act_fn(self.up(x)))}


MODELS = {
    "bottleneck": (Bottleneck, (2, 16, 5, 5)),
    "functional": (Functional, (2, 3, 6, 6)),
    "attention": (Attention, (2, 7, 8)),
}


@pytest.fixture
def build():
    """name -> (model in evaluation mode, example input), the same every time."""

    def made(name):
        torch.manual_seed(0)
        kind, shape = MODELS[name]
        return kind().eval(), torch.randn(shape)

    return made
