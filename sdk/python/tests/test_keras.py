"""Weights of Keras models, in and out, on the backend that KERAS_BACKEND names."""

import keras
import nsfl
import numpy as np
import pytest
from safetensors.numpy import load_file
from neursafe_fl._keras import variables


def net(**names):
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Flatten(),
        keras.layers.Dense(5),
        keras.layers.Dense(3, name=names.get("last")),
    ]
    return keras.Sequential(layers)


NAMES = [
    "conv2d/kernel", "conv2d/bias", "batch_normalization/gamma", "batch_normalization/beta",
    "batch_normalization/moving_mean", "batch_normalization/moving_variance", "dense/kernel", "dense/bias",
    "dense_1/kernel", "dense_1/bias",
]  # fmt: skip


def test_weights_go_in_and_out(task):
    trained = net()
    for variable in trained.weights:
        variable.assign(keras.ops.add(variable, 0.5))
    nsfl.export_model(trained, task.base)
    model = net()
    nsfl.load_weights(model)
    for mine, theirs in zip(model.get_weights(), trained.get_weights()):
        assert np.array_equal(mine, theirs)
    model.compile(optimizer="sgd", loss="mse")
    model.fit(np.ones((8, 8, 8, 1)), np.ones((8, 3)), verbose=0)
    nsfl.commit_weights(model)
    sent = load_file(task.weights)
    assert sorted(sent) == sorted(NAMES)
    for name, variable in variables(model).items():
        assert np.array_equal(sent[name], keras.ops.convert_to_numpy(variable)), name
    assert not np.array_equal(sent["dense/kernel"], load_file(task.base)["dense/kernel"])
    assert task.left() == ["weights.safetensors"]


def test_names_do_not_depend_on_what_was_built_before():
    first = list(variables(net()))
    net()
    assert list(variables(net())) == first == NAMES


def test_names_that_the_script_gave_are_kept():
    assert list(variables(net(last="head_7")))[-1] == "head_7/bias"


def test_names_of_nested_subclassed_and_shared_layers():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.up, self.down = keras.layers.Dense(4), keras.layers.Dense(2)

        def call(self, x):
            return self.down(self.up(x))

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.again = Block(), Block(), keras.layers.Dense(2)

        def call(self, x):
            return self.again(self.two(self.again(self.one(x))))

    def made():
        model = Net()
        model(np.ones((1, 2)))
        return list(variables(model))

    names = made()
    assert len(names) == len(set(names)) == 10
    assert made() == names
    shared = keras.layers.Dense(3)
    entry = keras.Input((3,))
    assert list(variables(keras.Model(entry, shared(shared(entry))))) == ["dense/kernel", "dense/bias"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_type_of_the_global_weights_is_kept(task, dtype):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype)])
    nsfl.export_model(model, task.base)
    before = model.get_weights()
    nsfl.load_weights(model)
    nsfl.commit_weights(model)
    sent = load_file(task.weights)
    assert {str(array.dtype) for array in sent.values()} == {dtype}
    assert np.array_equal(np.float32(sent["dense/kernel"]), np.float32(before[0]))


def test_other_models_are_refused_by_the_tensors_name(task):
    nsfl.export_model(net(), task.base)
    with pytest.raises(nsfl.WrongNames, match="only in the global weights: 'dense_1/bias', 'dense_1/kernel'; only in the model: 'head/bias'"):
        nsfl.load_weights(net(last="head"))
    with pytest.raises(nsfl.UnknownModel, match="has no weights yet: give it an Input"):
        nsfl.load_weights(keras.Sequential([keras.layers.Dense(2)]))


def test_a_weight_that_is_not_finite_is_named(task):
    model = net()
    nsfl.export_model(model, task.base)
    kernel = model.layers[0].kernel
    kernel.assign(kernel * np.float32("nan"))
    with pytest.raises(nsfl.NotFinite, match="'conv2d/kernel' holds NaN"):
        nsfl.commit_weights(model)
    assert task.left() == []


def test_metrics_of_the_framework_are_numbers(task):
    nsfl.commit_metrics({"loss": keras.ops.convert_to_tensor(0.5), "kept": keras.Variable(2.0)})
    assert task.read("out/metrics.json") == {"loss": 0.5, "kept": 2.0}
