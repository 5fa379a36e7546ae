"""Makes the TorchScript modules that the tests train. Run in this folder by a Python with torch 2.13."""

import torch
from torch import nn


class Two(nn.Module):
    """Forward gives two tensors, which no loss takes."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x), x


def linear():
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.25]]))
        layer.bias.copy_(torch.tensor([0.125]))
    return layer


MODULES = {
    "linear": linear,
    "two": Two,
    "mlp": lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10)),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    ),
}

for name, module in MODULES.items():
    torch.manual_seed(1)
    torch.jit.script(module()).save(f"{name}.pt")
