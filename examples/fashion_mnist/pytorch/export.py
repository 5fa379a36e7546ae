"""Writes the initial model: `export.py model.safetensors`."""

import sys

import neursafe_fl as nsfl
import torch
from model import Net

torch.manual_seed(1)
nsfl.export_model(Net(), sys.argv[1])
