"""The federated optimizers for PyTorch against NumPy, step by step."""

import json

import nsfl
import numpy as np
import pytest
import reference
import torch
from safetensors.torch import load_file, save_file
from reference import SETTINGS
from torch import nn

NAMES = {"weight": "kernel", "bias": "bias"}
KEPT = {"scaffold": "state/scaffold.safetensors", "feddyn": "state/feddyn.safetensors"}


def linear():
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor(reference.W0.T))
        model.bias.copy_(torch.tensor(reference.B0))
    return model


def lay(task, job, **params):
    """The task of a job: its global weights, for SCAFFOLD with control variates."""
    task.optimizer(job, **params)
    turned = lambda values: {"weight": torch.tensor(values["kernel"].T.copy()), "bias": torch.tensor(values["bias"])}
    tensors = {name: t.detach().clone() for name, t in linear().state_dict().items()}
    if job == "scaffold":
        tensors |= {f"scaffold.c/{name}": t for name, t in turned(reference.C).items()}
    if job in KEPT:
        save_file(turned(reference.CI), task.path / KEPT[job])
    save_file(tensors, task.base)


def trained(model, optimizer):
    path = []
    for x, y in zip(reference.X, reference.Y):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
        path.append({mine: getattr(model, name).detach().numpy().T.copy() for name, mine in NAMES.items()})
    return path


def close(path, expected):
    for step, (mine, theirs) in enumerate(zip(path, expected, strict=True)):
        for name in theirs:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=1e-12, err_msg=f"step {step}, {name}")


@pytest.mark.parametrize("settings", SETTINGS, ids=json.dumps)
@pytest.mark.parametrize("job", ["fedprox", "pgd", "scaffold", "feddyn"])
def test_every_step_is_the_references(task, job, settings):
    lay(task, job, **(reference.PARAMETERS[job] or {"batch_size": 4, "sample_num": 24}))
    model = linear()
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(params=model.parameters(), lr=0.1, **settings)
    assert isinstance(optimizer, torch.optim.SGD)
    expected, own = reference.train(job, **settings)
    close(trained(model, optimizer), expected)
    nsfl.commit_weights(model, optimizer)
    sent = load_file(task.weights)
    np.testing.assert_allclose(sent["weight"].numpy().T, expected[-1]["kernel"], atol=1e-12)
    if job != "scaffold":
        assert sent.keys() == NAMES.keys()
    if job not in KEPT:
        assert task.left() == ["weights.safetensors"]
        return
    kept = load_file(task.path / "out" / KEPT[job])
    assert kept.keys() == NAMES.keys()
    for name, mine in NAMES.items():
        np.testing.assert_allclose(kept[name].numpy().T, own[mine], atol=1e-12)
        if job == "feddyn":
            continue
        moved = sent[f"scaffold.c/{name}"].numpy().T - reference.C[mine]
        np.testing.assert_allclose(moved, own[mine] - reference.CI[mine], atol=1e-12)


CLIENTS = [([0.2, 0.0], [0.5, 0.3], [0.8, 1.9]), ([0.0, 0.1], [0.1, -0.2], [0.9, 2.2])]


def test_scaffolds_worked_example(task):
    """Two clients of four; each one's gradient is constant, and so its new control variate."""
    x, c = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([0.1, -0.1], dtype=torch.float64)
    save_file({"w": x, "scaffold.c/w": c}, task.base)
    task.optimizer("scaffold", learning_rate=0.1)
    deltas, controls = [], []
    for before, gradient, y in CLIENTS:
        save_file({"w": torch.tensor(before, dtype=torch.float64)}, task.path / "state/scaffold.safetensors")
        model = nn.Module()
        model.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        nsfl.load_weights(model)
        optimizer = nsfl.create_optimizer(params=model.parameters())
        for _ in range(5):
            model.w.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
        nsfl.commit_weights(model, optimizer)
        sent = load_file(task.weights)
        np.testing.assert_allclose(sent["w"], y, atol=1e-12)
        np.testing.assert_allclose(load_file(task.path / "out/state/scaffold.safetensors")["w"], gradient, atol=1e-12)
        deltas.append(sent["w"] - x)
        controls.append(sent["scaffold.c/w"] - c)
        task.weights.unlink()
    np.testing.assert_allclose(x + sum(deltas) / 2, [0.85, 2.05], atol=1e-12)
    np.testing.assert_allclose(c + sum(controls) / 4, [0.2, -0.1], atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9, "dampening": 0.3}, {"momentum": 0.8, "nesterov": True}])
def test_a_constant_gradient_is_its_own_control_variate_whatever_the_steps_lengths(task, settings):
    save_file({"w": torch.ones(3).double(), "scaffold.c/w": torch.arange(3).double()}, task.base)
    task.optimizer("scaffold")
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(3).double())
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(model=model, lr=0.2, **settings)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    gradient = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    for _ in range(7):
        model.w.grad = gradient.clone()
        optimizer.step()
        schedule.step()
    assert torch.equal(model.w.grad, gradient)  # left as it was
    nsfl.commit_weights(model, optimizer)
    np.testing.assert_allclose(load_file(task.path / "out/state/scaffold.safetensors")["w"], gradient, atol=1e-12)


def test_what_is_not_trained_keeps_its_control_variate(task):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    floats = {name: t for name, t in model.state_dict().items() if t.is_floating_point()}
    controls = {f"scaffold.c/{name}": torch.zeros_like(t) for name, t in floats.items()}
    save_file({**model.state_dict(), **controls}, task.base)
    save_file({name: torch.full_like(t, 0.25) for name, t in floats.items()}, task.path / "state/scaffold.safetensors")
    task.optimizer("scaffold")
    nsfl.load_weights(model)
    optimizer = nsfl.create_optimizer(params=model[2].parameters(), lr=0.1)
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    nsfl.commit_weights(model, optimizer)
    kept = load_file(task.path / "out/state/scaffold.safetensors")
    assert torch.all(kept["0.weight"] == 0.25) and torch.all(kept["1.running_mean"] == 0.25)
    assert not torch.any(kept["2.weight"] == 0.25)
    sent = load_file(task.weights)
    assert sent.keys() == load_file(task.base).keys() and torch.all(sent["scaffold.c/0.weight"] == 0)


def test_other_classes_closures_groups_and_maximize(task):
    save_file({"w": torch.full((2,), 4.0)}, task.base)
    task.optimizer("fedprox", mu=0.5)
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(2))
    nsfl.load_weights(model)
    adam = nsfl.create_optimizer(params=[{"params": [model.w]}], optimizer_class="Adam", lr=0.1)
    assert isinstance(adam, torch.optim.Adam)
    with torch.no_grad():
        model.w.fill_(2.0)
    up = nsfl.create_optimizer(params=model.parameters(), lr=1.0, maximize=True)

    def closure():
        up.zero_grad()
        loss = model.w.sum()
        loss.backward()
        return loss

    assert up.step(closure).item() == 4.0
    # uphill by 1, and towards the global weights by half of what lies between
    assert model.w.tolist() == [4.0, 4.0]


def test_steps_hooks_run_once(task):
    save_file({"w": torch.zeros(2)}, task.base)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)  # PyTorch puts its hook around SGD.step now
    task.optimizer("fedprox")
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(2))
    optimizer = nsfl.create_optimizer(model=model, lr=1.0)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    model.w.grad = torch.ones(2)
    optimizer.step()
    assert calls == [1]


def test_without_a_federated_optimizer_the_frameworks_own_is_made(task):
    optimizer = nsfl.create_optimizer(params=nn.Linear(2, 2).parameters(), learning_rate=0.5, momentum=0.9)
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["lr"] == 0.5 and optimizer.param_groups[0]["momentum"] == 0.9


def test_the_scripts_learning_rate_goes_before_the_jobs(task):
    save_file(nn.Linear(2, 2).state_dict(), task.base)
    task.optimizer("fedprox", mu=0.1, learning_rate=0.25)
    rate = lambda **kw: nsfl.create_optimizer(params=nn.Linear(2, 2).parameters(), **kw).param_groups[0]["lr"]
    assert rate() == 0.25 and rate(lr=0.5) == 0.5


def test_what_cannot_be_made_is_said(task):
    model = nn.Linear(2, 2)
    save_file(model.state_dict(), task.base)
    raises = lambda said: pytest.raises(nsfl.OptimizerError, match=said)
    task.optimizer("fedavg")
    with raises("'fedavg' is unknown to this SDK; it knows fedprox, pgd, scaffold, feddyn, dp_sgd, dp_adam"):
        nsfl.create_optimizer(params=model.parameters())
    task.optimizer("fedprox", nu=1)
    with raises("fedprox has no parameter 'nu'; it has learning_rate, mu"):
        nsfl.create_optimizer(params=model.parameters())
    task.optimizer("fedprox", mu=-1)
    with raises("mu is -1, a number of at least 0"):
        nsfl.create_optimizer(params=model.parameters())
    task.optimizer("feddyn", alpha=0)
    with raises("alpha is 0, a number above 0"):
        nsfl.create_optimizer(params=model.parameters())
    with raises("given no optimizer, but the job's optimizer is FedDyn"):
        nsfl.commit_weights(model)
    task.optimizer("scaffold")
    with raises("takes SGD, with or without momentum, not Adam"):
        nsfl.create_optimizer(params=model.parameters(), optimizer_class="adam")
    task.env(TASK_RUNTIME="pytorch")
    with raises("pass params=model.parameters"):
        nsfl.create_optimizer(lr=1)
    with raises("commit_weights was given no optimizer, but the job's optimizer is SCAFFOLD"):
        nsfl.commit_weights(model)
    optimizer = nsfl.create_optimizer(params=model.parameters(), lr=1)
    model(torch.ones(1, 2)).sum().backward()
    with raises("in no loaded model: call nsfl.load_weights"):
        optimizer.step()
    nsfl.load_weights(model)
    with raises("no control variate 'scaffold.c/weight'"):
        optimizer.step()
    assert task.left() == []
