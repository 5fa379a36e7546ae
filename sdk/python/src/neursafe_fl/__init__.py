"""Federated learning with your own training script."""
