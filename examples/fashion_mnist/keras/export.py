"""Writes the initial model: `export.py model.safetensors`."""

import sys

import keras
import neursafe_fl as nsfl
from model import net

keras.utils.set_random_seed(1)
nsfl.export_model(net(), sys.argv[1])
