"""Trains the network on the site's images. The lines with `nsfl` are what federated training adds."""

import argparse
import time

import data
import neursafe_fl as nsfl
import torch
from model import Net
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--samples", type=int, default=0, help="at most so many images an epoch; 0: all")
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.03)
parser.add_argument("--momentum", type=float, default=0.9)
arguments = parser.parse_args()

began = time.monotonic()
torch.set_num_threads(1)
torch.manual_seed(nsfl.get_seed())
images, classes = data.load("train")
model = Net()
nsfl.load_weights(model)
optimizer = nsfl.create_optimizer(params=model.parameters(), lr=arguments.lr, momentum=arguments.momentum)

total, seen = 0.0, 0
for epoch in range(arguments.epochs):
    order = torch.randperm(len(images))[: arguments.samples or None]
    for rows in order.split(arguments.batch_size):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[rows]), classes[rows])
        loss.backward()
        optimizer.step()
        total, seen = total + loss.item() * len(rows), seen + len(rows)
        if seen % (100 * arguments.batch_size) == 0:
            nsfl.progress(seen / (len(order) * arguments.epochs), loss=total / seen)

nsfl.commit_weights(model, optimizer)
nsfl.commit_metrics({"sample_num": len(images), "loss": total / seen, "spend_time": time.monotonic() - began})
