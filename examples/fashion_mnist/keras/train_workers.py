"""Trains as `train.py` does, with so many workers as the job asks for (`resource.worker_num`), in TensorFlow's
MultiWorkerMirroredStrategy: each takes its part of the images, and the optimizer sums their gradients.

A loop of its own, as `fit` of Keras 3 does not know this strategy.
"""

import argparse
import time

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--samples", type=int, default=0, help="at most so many images; 0: all")
parser.add_argument("--batch-size", type=int, default=32, help="of one worker")
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--momentum", type=float, default=0.9)
arguments = parser.parse_args()

began = time.monotonic()
tf.config.threading.set_intra_op_parallelism_threads(1)
# TF_CONFIG is set: who the workers are, and which one this is. Before anything else of TensorFlow
strategy = tf.distribute.MultiWorkerMirroredStrategy()

import data  # noqa: E402
import keras  # noqa: E402
import neursafe_fl as nsfl  # noqa: E402
import numpy as np  # noqa: E402
from model import net  # noqa: E402

rank, workers = strategy.cluster_resolver.task_id, strategy.num_replicas_in_sync
keras.utils.set_random_seed(nsfl.get_seed() % 2**32)
images, classes = data.load("train")
with strategy.scope():
    model = net()
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(learning_rate=arguments.lr, momentum=arguments.momentum)
    optimizer.build(model.trainable_variables)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def step(x, y):
    def of_worker(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True)) / workers
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return strategy.reduce("SUM", strategy.run(of_worker, args=(x, y)), axis=None)


losses = []
for _ in range(arguments.epochs):
    # the same order in every worker, and whole batches for each
    order = np.random.permutation(len(images))[: arguments.samples or None]
    own = order[: len(order) // workers * workers][rank::workers]
    for at in range(0, len(own) - arguments.batch_size + 1, arguments.batch_size):
        rows = own[at : at + arguments.batch_size]
        losses.append(float(step(images[rows], classes[rows])))

# of worker 0 only; of the others these do nothing
nsfl.commit_weights(model, optimizer)
nsfl.commit_metrics({
    "sample_num": len(images),
    "loss": float(np.mean(losses)),
    "workers": workers,
    "spend_time": time.monotonic() - began,
})
