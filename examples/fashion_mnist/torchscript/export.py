"""Writes the module for the sites and the initial model for the server: `export.py model.pt model.safetensors`."""

import sys

import neursafe_fl as nsfl
import torch
from model import Net

torch.manual_seed(1)
net = Net()
torch.jit.script(net).save(sys.argv[1])
nsfl.export_model(net, sys.argv[2])
