"""Trains as `train.py` does, with so many workers as the job asks for (`resource.worker_num`): each takes its part of the images,
and DistributedDataParallel averages their gradients."""

import argparse
import os
import time

import data
import neursafe_fl as nsfl
import torch
from model import Net
from torch import distributed, nn

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--samples", type=int, default=0, help="at most so many images an epoch; 0: all")
parser.add_argument("--batch-size", type=int, default=32, help="of one worker")
parser.add_argument("--lr", type=float, default=0.03)
parser.add_argument("--momentum", type=float, default=0.9)
arguments = parser.parse_args()

began = time.monotonic()
torch.set_num_threads(1)
torch.manual_seed(nsfl.get_seed())
# WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT are set: no argument is needed
distributed.init_process_group("gloo")
rank, workers = distributed.get_rank(), distributed.get_world_size()
images, classes = data.load("train")
model = Net()
nsfl.load_weights(model)
network = nn.parallel.DistributedDataParallel(model)
optimizer = nsfl.create_optimizer(params=model.parameters(), lr=arguments.lr, momentum=arguments.momentum)

total, seen = 0.0, 0
for epoch in range(arguments.epochs):
    # the same order in every worker, and the same number of images for each
    order = torch.randperm(len(images))[: arguments.samples or None]
    own = order[: len(order) // workers * workers][rank::workers]
    for rows in own.split(arguments.batch_size):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images[rows]), classes[rows])
        loss.backward()
        optimizer.step()
        total, seen = total + loss.item() * len(rows), seen + len(rows)

loss = torch.tensor(total / seen)
distributed.all_reduce(loss)
distributed.destroy_process_group()

# of worker 0 only; of the others these do nothing
nsfl.commit_weights(model, optimizer)
nsfl.commit_metrics({
    "sample_num": len(images),
    "loss": loss.item() / workers,
    "workers": workers,
    "spend_time": time.monotonic() - began,
})
