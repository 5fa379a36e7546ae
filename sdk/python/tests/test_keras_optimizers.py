"""The federated optimizers for Keras against NumPy, step by step, on the backend that KERAS_BACKEND names."""

import json

import keras
import nsfl
import numpy as np
import pytest
import reference
from reference import SETTINGS
from safetensors.numpy import load_file, save_file



def linear():
    model = keras.Sequential([keras.Input((3,), dtype="float64"), keras.layers.Dense(2, dtype="float64")])
    model.set_weights([reference.W0, reference.B0])
    return model


def lay(task, job, **params):
    task.optimizer(job, **params)
    tensors = {"dense/kernel": reference.W0, "dense/bias": reference.B0}
    if job == "scaffold":
        tensors |= {f"scaffold.c/dense/{name}": value for name, value in reference.C.items()}
    if job in ("scaffold", "feddyn"):
        save_file({f"dense/{n}": value for n, value in reference.CI.items()}, task.path / f"state/{job}.safetensors")
    save_file(tensors, task.base)


def trained(model):
    path = []
    for x, y in zip(reference.X, reference.Y):
        model.train_on_batch(x, y)
        path.append(dict(zip(["kernel", "bias"], model.get_weights())))
    return path


@pytest.mark.parametrize("settings", SETTINGS, ids=json.dumps)
@pytest.mark.parametrize("job", ["fedprox", "pgd", "scaffold", "feddyn"])
def test_every_step_is_the_references(task, job, settings):
    lay(task, job, **reference.PARAMETERS[job])
    task.env(TASK_RUNTIME="tensorflow")
    model = linear()
    optimizer = nsfl.create_optimizer(learning_rate=0.1, **settings)
    assert isinstance(optimizer, keras.optimizers.SGD)
    model.compile(optimizer=optimizer, loss="mse")
    nsfl.load_weights(model)
    expected, own = reference.train(job, decoupled=True, **settings)
    # Keras holds the learning rate as float32
    for step, (mine, theirs) in enumerate(zip(trained(model), expected, strict=True)):
        for name in theirs:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=1e-6, err_msg=f"step {step}, {name}")
    nsfl.commit_weights(model)  # the optimizer is known from compile
    sent = load_file(task.weights)
    if job != "scaffold":
        assert sorted(sent) == ["dense/bias", "dense/kernel"]
    if own is None:
        assert task.left() == ["weights.safetensors"]
        return
    kept = load_file(task.path / f"out/state/{job}.safetensors")
    for name, theirs in own.items():
        np.testing.assert_allclose(kept[f"dense/{name}"], theirs, atol=1e-5)
        if job == "feddyn":
            continue
        moved = sent[f"scaffold.c/dense/{name}"] - reference.C[name]
        np.testing.assert_allclose(moved, theirs - reference.CI[name], atol=1e-5)


def test_a_constant_gradient_is_its_own_control_variate_under_a_schedule(task):
    lay(task, "scaffold")
    model = linear()
    nsfl.load_weights(model)
    rate = keras.optimizers.schedules.ExponentialDecay(0.2, 1, 0.7)
    optimizer = nsfl.create_optimizer(model=model, learning_rate=rate, momentum=0.8, nesterov=True)
    gradients = [np.arange(6.0).reshape(3, 2), np.array([1.0, -2.0])]
    for _ in range(7):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], model.trainable_variables)
    nsfl.commit_weights(model, optimizer)
    kept = load_file(task.path / "out/state/scaffold.safetensors")
    np.testing.assert_allclose(kept["dense/kernel"], gradients[0], atol=1e-5)
    np.testing.assert_allclose(kept["dense/bias"], gradients[1], atol=1e-5)


def test_other_classes_and_none(task):
    task.env(TASK_RUNTIME="keras")
    assert type(nsfl.create_optimizer(lr=0.5)) is type(keras.optimizers.SGD(0.5))
    lay(task, "fedprox", learning_rate=0.25)
    adam = nsfl.create_optimizer(optimizer_class=keras.optimizers.Adam)
    assert isinstance(adam, keras.optimizers.Adam) and float(adam.learning_rate) == 0.25
    model = linear()
    nsfl.load_weights(model)
    model.compile(optimizer=adam, loss="mse")
    model.fit(reference.X[0], reference.Y[0], epochs=2, verbose=0)


def test_what_cannot_be_made_is_said(task):
    raises = lambda said: pytest.raises(nsfl.OptimizerError, match=said)
    task.env(TASK_RUNTIME="tensorflow")
    lay(task, "dp_sgd")
    with raises("dp_sgd clips each sample's gradient, which a Keras optimizer is not given"):
        nsfl.create_optimizer(learning_rate=0.1)
    lay(task, "scaffold")
    with raises("takes SGD, with or without momentum, not Adam"):
        nsfl.create_optimizer(optimizer_class="adam")
    model = linear()
    optimizer = nsfl.create_optimizer(model=model, learning_rate=0.1)
    with raises("in no loaded model"):
        optimizer.build(linear().trainable_variables)
    with raises("given no optimizer, but the job's optimizer is SCAFFOLD"):
        nsfl.commit_weights(model)
    model.compile(optimizer="adam", loss="mse")
    with raises("given a Adam"):
        nsfl.commit_weights(model)
