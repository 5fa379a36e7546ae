"""Trains the network on the site's images. The lines with `nsfl` are what federated training adds."""

import argparse
import time

import data
import keras
import neursafe_fl as nsfl
import numpy as np
import threads
from model import net

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--samples", type=int, default=0, help="at most so many images; 0: all")
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--momentum", type=float, default=0.9)
arguments = parser.parse_args()

began = time.monotonic()
threads.one()
keras.utils.set_random_seed(nsfl.get_seed() % 2**32)
images, classes = data.load("train")
rows = np.random.permutation(len(images))[: arguments.samples or None]
model = net()
nsfl.load_weights(model)
optimizer = nsfl.create_optimizer(learning_rate=arguments.lr, momentum=arguments.momentum)
model.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

show = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: nsfl.progress((epoch + 1) / arguments.epochs, metrics=logs)
)
fitted = model.fit(
    images[rows], classes[rows], epochs=arguments.epochs, batch_size=arguments.batch_size, callbacks=[show], verbose=2
)

nsfl.commit_weights(model, optimizer)
nsfl.commit_metrics({
    "sample_num": len(images),
    "loss": fitted.history["loss"][-1],
    "spend_time": time.monotonic() - began,
})
