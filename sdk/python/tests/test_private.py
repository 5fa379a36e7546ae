"""DP-SGD and DP-Adam for PyTorch against NumPy step by step; the noise; and the golden file that native trainers share."""

import json
import math
import statistics

import nsfl
import numpy as np
import pytest
import reference
import torch
from neursafe_fl import _private
from safetensors.torch import load_file, save_file
from test_torch_optimizers import NAMES, close, linear
from torch import nn


def lay(task, job, **params):
    task.optimizer(job, **params)
    save_file(linear().state_dict(), task.base)


def loss_of(model):
    return lambda x, y: nn.functional.mse_loss(model(x), y)


CASES = [("dp_sgd", settings) for settings in reference.SETTINGS] + [("dp_adam", s) for s in reference.ADAM_SETTINGS]


@pytest.mark.parametrize("job, settings", CASES, ids=json.dumps)
def test_every_step_is_the_references(task, monkeypatch, job, settings):
    monkeypatch.setattr(_private, "key", lambda: reference.KEY)
    lay(task, job, **reference.PARAMETERS[job])
    model = linear()
    nsfl.load_weights(model)
    # noise goes to the parameters in the optimizer's order
    optimizer = nsfl.create_optimizer(params=[model.bias, model.weight], lr=0.1, **settings)
    assert isinstance(optimizer, torch.optim.Adam if job == "dp_adam" else torch.optim.SGD)
    path = []
    for x, y in zip(reference.X, reference.Y):
        optimizer.zero_grad()
        x, y = torch.tensor(x), torch.tensor(y)
        with torch.no_grad():
            expected = loss_of(model)(x, y)
        assert torch.allclose(nsfl.backward(optimizer, loss_of(model), x, y), expected)
        optimizer.step()
        path.append({mine: getattr(model, name).detach().numpy().T.copy() for name, mine in NAMES.items()})
    close(path, reference.train(job, **settings)[0])
    nsfl.commit_weights(model, optimizer)
    assert task.left() == ["weights.safetensors"] and load_file(task.weights).keys() == NAMES.keys()


def test_no_sample_moves_the_sum_by_more_than_the_bound(task):
    lay(task, "dp_sgd", clip=0.5, noise_multiplier=0, batch_size=1)
    model = linear()
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(model=model, lr=1.0)
    norm = lambda: math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
    x, y = torch.tensor(reference.X[0]), torch.tensor(reference.Y[0])
    for scale in (1e-3, 1.0, 1e6, 1e200, math.inf, math.nan):
        nsfl.backward(optimizer, loss_of(model), x[:1] * scale, y[:1])
        assert norm() <= 0.5 * (1 + 1e-12), scale
        # beside one that is not finite the others count
        nsfl.backward(optimizer, loss_of(model), torch.cat([x[:1] * scale, x[1:2]]), y[:2])
        assert 0.1 < norm() <= 1 + 1e-12, scale


def test_an_empty_batch_is_noise_alone_and_each_step_has_its_own(task):
    task.optimizer("dp-sgd", clip=0.5, noise_multiplier=3, batch_size=10)
    model = nn.Linear(200, 200)
    save_file(model.state_dict(), task.base)
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(params=model.parameters(), lr=1.0)
    drawn = []
    for _ in range(2):
        loss = nsfl.backward(optimizer, loss_of(model), torch.zeros(0, 200), torch.zeros(0, 200))
        assert loss.item() == 0
        drawn.append(model.weight.grad.flatten().double().numpy().copy())
        optimizer.step()
    for values in drawn:
        # σC/L
        assert abs(values.mean()) < 0.004 and values.std() == pytest.approx(0.15, rel=0.03)
    assert abs(np.corrcoef(*drawn)[0, 1]) < 0.03
    assert abs(np.corrcoef(drawn[0][:-1], drawn[0][1:])[0, 1]) < 0.03


def test_other_optimizers_take_backward_too(task):
    task.env(TASK_RUNTIME="pytorch")
    model = linear()
    optimizer = nsfl.create_optimizer(params=model.parameters(), lr=0.1)
    x, y = torch.tensor(reference.X[0]), torch.tensor(reference.Y[0])
    loss = nsfl.backward(optimizer, loss_of(model), x, y)
    expected = reference.gradients({"kernel": reference.W0, "bias": reference.B0}, reference.X[0], reference.Y[0])
    np.testing.assert_allclose(model.weight.grad.numpy().T, expected["kernel"], atol=1e-12)
    assert not loss.requires_grad


def test_what_would_not_be_private_is_refused(task):
    raises = lambda said: pytest.raises(nsfl.OptimizerError, match=said)
    lay(task, "dp_sgd", batch_size=4)
    model = linear()
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(params=model.parameters(), lr=0.1)
    x, y = torch.tensor(reference.X[0]), torch.tensor(reference.Y[0])
    loss_of(model)(x, y).backward()
    with raises("call nsfl.backward"):
        optimizer.step()
    nsfl.backward(optimizer, loss_of(model), x, y)
    optimizer.step()
    with raises("before each step"):
        optimizer.step()
    nsfl.backward(optimizer, loss_of(model), x, y)
    with raises("without a closure"):
        optimizer.step(lambda: loss_of(model)(x, y))
    with pytest.raises(nsfl.BadValue, match=r"\[3, 4\] rows"):
        nsfl.backward(optimizer, loss_of(model), x, y[:3])
    task.env(WORKER_NUM=2)
    with raises("dp_sgd takes one worker"):
        nsfl.create_optimizer(params=model.parameters(), lr=0.1)
    task.env(WORKER_NUM=1)
    task.optimizer("dp_adam", clip=0)
    with raises("clip is 0, a number above 0"):
        nsfl.create_optimizer(params=model.parameters())


def test_keys_differ_and_the_stream_is_rfc_8439s():
    assert _private.key() != _private.key() and len(_private.key()) == 32
    # appendix A.1, test vectors 1 and 2
    words = _private.blocks(np.zeros(8, np.uint32), 0, 2)
    assert [hex(word) for word in words[:, 0]] == ["0xade0b876", "0xbee7079f"]
    stream = reference.words(reference.KEY)
    for row in _private.blocks(np.frombuffer(reference.KEY, "<u4"), 0, 3):
        assert row.tolist() == [next(stream) for _ in range(16)]


def test_noise_goes_on_where_it_stopped_and_is_normal():
    whole, parts = _private.Noise(reference.KEY).normal(300_000), _private.Noise(reference.KEY)
    got = np.concatenate([parts.normal(n) for n in (2, 6, 10, 0, 131_072, 168_910)])
    assert np.array_equal(got, whole)
    expected = reference.normals(reference.KEY)
    np.testing.assert_allclose(whole[:100], [next(expected) for _ in range(100)], rtol=1e-12)
    assert len(parts.normal(3)) == 3
    for z in (-2, -1, 0, 1, 2):
        assert (whole < z).mean() == pytest.approx(statistics.NormalDist().cdf(z), abs=0.004)


def test_the_golden_file_of_the_native_trainers_is_this_references():
    kept, made = json.loads(reference.GOLDEN.read_text()), reference.golden()
    assert kept.keys() == made.keys() and len(kept["cases"]) == len(made["cases"])
    for mine, theirs in zip(kept.pop("cases"), made.pop("cases")):
        for name in ("weights", "kept"):
            np.testing.assert_allclose(mine.pop(name, []), theirs.pop(name, []), atol=1e-12)
        assert mine == theirs
    for name in ("made_by", "key"):
        assert kept.pop(name) == made.pop(name)
    for name in made:
        np.testing.assert_allclose(kept[name], made[name], atol=1e-15)
