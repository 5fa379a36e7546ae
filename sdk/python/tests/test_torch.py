"""Weights of PyTorch models, in and out."""


import nsfl
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))


def batch():
    return torch.arange(2 * 64, dtype=torch.float32).reshape(2, 1, 8, 8) / 64


def test_weights_go_in_and_out_with_buffers(task):
    trained = net()
    trained(batch())  # moves the batch norm's buffers
    nsfl.export_model(trained, task.base)
    model = net()
    nsfl.load_weights(model)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    model(batch())
    nsfl.commit_weights(model)
    sent = load_file(task.weights)
    assert sent.keys() == model.state_dict().keys()
    assert all(torch.equal(sent[name], tensor) for name, tensor in model.state_dict().items())
    assert sent["1.num_batches_tracked"].dtype == torch.int64 and sent["1.num_batches_tracked"].item() == 2
    assert task.left() == ["weights.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_of_the_global_weights_is_kept(task, dtype):
    model = nn.Linear(3, 2).to(dtype)
    nsfl.export_model(model, task.base)
    nsfl.load_weights(model)
    nsfl.commit_weights(model)
    assert {t.dtype for t in load_file(task.weights).values()} == {dtype}


def test_a_model_in_another_float_type_is_converted(task):
    wide = nn.Linear(3, 2)
    nsfl.export_model(wide, task.base)
    narrow = nn.Linear(3, 2).to(torch.bfloat16)
    nsfl.load_weights(narrow)
    assert torch.equal(narrow.weight, wide.weight.to(torch.bfloat16))
    nsfl.commit_weights(narrow)
    assert {t.dtype for t in load_file(task.weights).values()} == {torch.float32}


def test_wrappers_do_not_show_in_names(task):
    model = net()
    nsfl.export_model(nn.DataParallel(model), task.base)
    assert load_file(task.base).keys() == model.state_dict().keys()
    nsfl.load_weights(torch.compile(nn.DataParallel(model), backend="eager"))


def test_tied_and_sliced_weights_are_written_whole(task):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight
            self.register_buffer("part", torch.arange(12.0).reshape(4, 3)[1:3, ::2])

    model = Tied()
    nsfl.export_model(model, task.base)
    held = load_file(task.base)
    assert torch.equal(held["a.weight"], held["b.weight"]) and held["part"].tolist() == [[3.0, 5.0], [6.0, 8.0]]
    nsfl.load_weights(model)


def test_other_models_are_refused_by_the_tensors_name(task):
    nsfl.export_model(nn.Sequential(nn.Linear(3, 2)), task.base)
    with pytest.raises(nsfl.WrongShape, match=r"'0.weight' has shape \[2, 4\], the global weights have \[2, 3\]"):
        nsfl.load_weights(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(nsfl.WrongNames, match="only in the global weights: '0.bias'"):
        nsfl.load_weights(nn.Sequential(nn.Linear(3, 2, bias=False)))
    with pytest.raises(nsfl.WrongNames, match="only in the model: '1.bias', '1.weight'"):
        nsfl.commit_weights(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].weight = nn.Parameter(torch.zeros(2, 3, dtype=torch.int32), requires_grad=False)
    with pytest.raises(nsfl.WrongShape, match="'0.weight' is of type I32, the global weights of F32"):
        nsfl.commit_weights(model)
    assert task.left() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(task, value):
    model = net()
    nsfl.export_model(model, task.base)
    with torch.no_grad():
        model[3].bias[1] = value
    with pytest.raises(nsfl.NotFinite, match="'3.bias' holds NaN or infinity"):
        nsfl.commit_weights(model)
    assert task.left() == []


def test_committing_twice_fails_the_task_even_when_the_script_goes_on(task):
    model = nn.Linear(2, 2)
    nsfl.export_model(model, task.base)
    nsfl.commit_weights(model)
    first = task.weights.read_bytes()
    with torch.no_grad():
        model.bias += 1
    with pytest.raises(nsfl.CommittedTwice):
        nsfl.commit_weights(model)
    error = task.read("out/error.json")
    assert error["code"] == "commit-twice" and "test_committing_twice" in error["traceback"]
    assert task.weights.read_bytes() == first


def test_an_evaluation_and_another_worker_commit_nothing(task, capfd):
    model = nn.Linear(2, 2)
    nsfl.export_model(model, task.base)
    task.env(TASK_MODE="evaluate")
    nsfl.commit_weights(model)
    task.env(TASK_MODE="train", WORKER_INDEX=2)
    nsfl.commit_weights(model)
    assert task.left() == []
    said = capfd.readouterr().err
    assert "this task evaluates" in said and "worker 2, worker 0 commits" in said


def test_what_is_no_model_or_no_file_is_said(task):
    with pytest.raises(nsfl.UnknownModel, match="not builtins.dict"):
        nsfl.load_weights({})
    with pytest.raises(nsfl.UnknownModel, match="has no shape yet: call the model on a batch first"):
        nsfl.export_model(nn.LazyLinear(3), task.base)
    with pytest.raises(nsfl.BadTask, match="base.safetensors cannot be read as safetensors"):
        nsfl.load_weights(nn.Linear(2, 2))
    torch.save(nn.Linear(2, 2).state_dict(), task.base)  # a pickle
    with pytest.raises(nsfl.BadTask, match="cannot be read as safetensors"):
        nsfl.load_weights(nn.Linear(2, 2))


def test_control_variates_in_the_base_are_not_the_models(task):
    model = nn.Linear(2, 1)
    save_file({**model.state_dict(), "scaffold.c/weight": torch.ones(1, 2), "scaffold.c/bias": torch.ones(1)}, task.base)
    nsfl.load_weights(model)


MEASURE = """
import resource, torch, nsfl
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
model = torch.nn.Linear(4096, 16384, bias=False)
size = model.weight.nbytes
before = peak()
nsfl.load_weights(model)
nsfl.commit_weights(model)
print((peak() - before) / size)
"""


def test_beside_the_model_at_most_two_more_are_in_memory(task, script):
    save_file({"weight": torch.zeros(16384, 4096)}, task.base)
    done = script(MEASURE)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 2.0


class Adapted(nn.Module):
    """A layer with an adapter, under PEFT's names."""

    def __init__(self, rank, used=0.0):
        super().__init__()
        torch.manual_seed(2)
        self.base_layer = nn.Linear(3, 4, bias=False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(3, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, 4, bias=False)})
        nn.init.constant_(self.lora_B["default"].weight, used)


A, B = "layer.lora_A.default.weight", "layer.lora_B.default.weight"


def adapted(rank, used=0.0):
    return nn.ModuleDict({"layer": Adapted(rank, used)})


def test_an_adapter_of_a_lower_rank_takes_its_part_and_hands_over_the_rest_unchanged(task):
    nsfl.export_model(adapted(3), task.base)
    base = load_file(task.base)
    model = adapted(2)
    nsfl.load_weights(model)
    own = model.state_dict()
    assert torch.equal(own[A], base[A][:2]) and torch.equal(own[B], base[B][:, :2])
    with torch.no_grad():
        own[A].add_(1.0)
        own[B].add_(2.0)
    nsfl.commit_weights(model)
    sent = load_file(task.weights)
    assert torch.equal(sent[A], torch.cat([base[A][:2] + 1.0, base[A][2:]]))
    assert torch.equal(sent[B], torch.cat([torch.full((4, 2), 2.0), torch.zeros(4, 1)], dim=1))
    assert torch.equal(sent[B] @ sent[A], own[B] @ own[A])


def test_a_lower_rank_is_refused_where_the_global_adapter_is_in_use(task):
    nsfl.export_model(adapted(3, used=0.5), task.base)
    with pytest.raises(nsfl.WrongShape, match="in use beyond rank 2"):
        nsfl.load_weights(adapted(2))


def test_an_adapter_of_a_higher_rank_is_refused(task):
    nsfl.export_model(adapted(2), task.base)
    with pytest.raises(nsfl.WrongShape, match="lora_A"):
        nsfl.load_weights(adapted(3))
