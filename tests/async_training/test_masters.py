"""What holds for all methods: bad input, memory, what they keep of a worker, modules."""

from __future__ import annotations

import pytest
import torch
from async_training.problems import ASYNCHRONOUS, Drive, K, master, quadratic, random_order, start

from ttft.async_training import AsyncTrainer, ModuleGradient, Schedule, Simulated, make_master
from ttft.async_training.masters import MASTERS
from ttft.errors import ConfigError, TtftError

N = 6
VECTORS = {
    "asgd": 1, "nag-asgd": 2, "multi-asgd": N + 1, "sa": 2, "dc-asgd": N + 2, "dc-asgd-a": 2 * N + 2, "lwp": 2,
    "dana": N + 2, "dana-slim": 1, "dana-dc": 2 * N + 2, "ga": N + 3, "dana-ga": 2 * N + 3, "delay-adaptive": 3,
    "ssgd": 2, "adamw": 3, "diloco": 2, "async-diloco": 3,
}  # fmt: skip
"""k-vectors that a master holds between two arrivals; with gaps, N more where they are not among them."""


@pytest.mark.parametrize("name", MASTERS)
def test_memory_is_what_the_class_says(name: str) -> None:
    for gaps in (False, True):
        kept = master(name, gaps=gaps)
        Drive(kept, quadratic(), N).run(list(range(N)) * 3)
        vectors = [value for value in kept.state_dict().values() if isinstance(value, torch.Tensor)]
        keeps = gaps and not kept._needs_sent()
        assert len(vectors) == VECTORS[name] + (N if keeps else 0)
        assert all(vector.shape == (K,) for vector in vectors)


@pytest.mark.parametrize("name", MASTERS)
def test_a_forgotten_worker_leaves_nothing(name: str) -> None:
    kept = master(name, gaps=True)
    drive = Drive(kept, quadratic(), 4)
    drive.run([0, 1, 2, 3] * 3)
    kept.forget(2)
    assert not [key for key in kept.state_dict() if key.endswith("/2")] and kept.members() == [0, 1, 3]
    drive.run([0, 1, 3])
    kept.forget(99)  # nobody


@pytest.mark.parametrize("name", MASTERS)
def test_views_and_payloads_are_nobody_elses(name: str) -> None:
    kept = master(name)
    drive = Drive(kept, quadratic(), 2)
    before = drive.held[0].clone()
    payload = torch.ones(K, dtype=torch.float64)
    kept.receive(1, payload)
    drive.hand_out()
    assert torch.equal(drive.held[0], before) and torch.equal(payload, torch.ones(K, dtype=torch.float64))


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_every_method_lowers_the_loss_under_mild_delays(name: str) -> None:
    kept = master(name, **({} if name == "delay-adaptive" or "diloco" in name else {"lr": 0.01}))
    losses: list[float] = []
    trainer = AsyncTrainer(quadratic(noise=0.1), kept, Simulated(3, seed=1))
    trainer.run(600, on_arrival=lambda arrival: losses.append(arrival.loss))
    assert sum(losses[-20:]) < 0.35 * sum(losses[:20])


def test_views_that_a_restart_lost_are_sent_anew() -> None:
    for name in MASTERS:
        kept = master(name, gaps=True)
        drive = Drive(kept, quadratic(), 3)
        drive.run([0, 1])
        kept.recall()
        assert kept.idle() == []
        for worker in range(3):
            kept.join(worker)
        assert kept.idle() == [w for w in range(3) if not (kept.synchronous and w < 2)]
        drive.hand_out()
        drive.run([2] if kept.synchronous else random_order(3, 10))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sgd", {"lr": 0.1}, "unknown method 'sgd'"),
        ("dana", {"lr": 0.1, "momentun": 0.9}, "dana has no option 'momentun'"),
        ("dana", {}, "dana needs lr"),
        ("diloco", {}, "diloco needs inner"),
        ("delay-adaptive", {"within": 1.0, "lr": 0.1}, "no option 'lr'"),
        ("delay-adaptive", {"within": -1.0}, "radius is -1.0"),
        ("dana", {"lr": 0.0}, "lr is 0.0"),
        ("dana", {"lr": float("nan")}, "lr is nan"),
        ("dana", {"lr": 0.1, "momentum": 1.0}, "momentum is 1.0"),
        ("asgd", {"lr": 0.1, "momentum": 0.9}, "asgd has no option 'momentum'"),
        ("dana", {"lr": 0.1, "base": "rmsprop"}, "unknown base 'rmsprop'"),
        ("dana-dc", {"lr": 0.1, "base": "adam"}, "plain gradients only"),
        ("dana-dc", {"lr": 0.1, "lambda_": -1.0}, "lambda is -1.0"),
        ("dana-ga", {"lr": 0.1, "decay": 1.0}, "decay is 1.0"),
        ("dana", {"lr": 0.1, "weight_decay": -1.0}, "weight_decay is -1.0"),
        ("lwp", {"lr": 0.1, "horizon": 0.0}, "horizon is 0.0"),
        ("adamw", {"lr": 0.1, "betas": (0.9, 1.0)}, "beta is 1.0"),
    ],
)
def test_bad_settings_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_master(name, start(), **options)
    assert caught.value.hint


@pytest.mark.parametrize(
    "vector", [torch.ones(2, 2), torch.ones(3, dtype=torch.int64), torch.empty(0), torch.tensor([1.0, float("inf")])]
)
def test_a_start_that_is_no_vector_is_refused(vector: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="start"):
        make_master("dana", vector, lr=0.1)


def test_arrivals_that_cannot_be_are_refused() -> None:
    kept = master("dana")
    with pytest.raises(ValueError, match="worker 0 holds no parameters"):
        kept.receive(0, start())
    kept.join(0)
    kept.view(0)
    with pytest.raises(ValueError, match="shape"):
        kept.receive(0, start(3))


def test_a_loss_that_is_not_finite_ends_the_run_with_a_sentence() -> None:
    def gradient(theta: torch.Tensor, worker: int, number: int) -> tuple[torch.Tensor, float]:
        return theta, float("nan") if number == 2 else 1.0

    with pytest.raises(TtftError, match=r"the loss is nan at update 4") as caught:
        AsyncTrainer(gradient, master("dana"), Simulated(2, seed=0)).run(10)
    assert "learning rate" in caught.value.hint


# ---- schedules -----------------------------------------------------------------------------------------------------


def test_schedules() -> None:
    steps = Schedule(0.1, warmup=4, workers=5, milestones=(6, 8), factor=0.1)
    assert [round(steps(t), 6) for t in range(10)] == [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    cosine = Schedule(1.0, warmup=2, total=6, floor=0.2)
    assert [round(cosine(t), 4) for t in (2, 4, 6, 9)] == [1.0, 0.6, 0.2, 0.2]
    for bad in ({"warmup": -1}, {"workers": 0}, {"total": 2, "warmup": 2}, {"factor": 0.0}, {"floor": 2.0}):
        with pytest.raises(ConfigError):
            Schedule(0.1, **bad)


# ---- modules -------------------------------------------------------------------------------------------------------


def module_and_batches():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

    def batches(worker: int, number: int):
        generator = torch.Generator().manual_seed(1000 * worker + number)
        x = torch.randn(16, 4, generator=generator)
        return x, x[:, :3].argmax(1)

    return module, batches


def loss(module: torch.nn.Module, batch) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(module(batch[0]), batch[1])


def test_a_modules_gradient_is_autograds() -> None:
    module, batches = module_and_batches()
    gradient = ModuleGradient(module, loss, batches)
    theta = gradient.start
    g, value = gradient(theta + 0.1, 1, 2)
    expected = loss(module, batches(1, 2))
    expected.backward()
    flat = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
    assert value == pytest.approx(float(expected.detach())) and torch.allclose(g, flat)


def test_a_module_learns_and_only_what_is_trainable_moves() -> None:
    module, batches = module_and_batches()
    module[0].bias.requires_grad_(False)
    frozen = module[0].bias.detach().clone()
    gradient = ModuleGradient(module, loss, batches)
    assert len(gradient.start) == 4 * 8 + 8 * 3 + 3
    kept = make_master("dana", gradient.start, lr=0.1)
    theta = AsyncTrainer(gradient, kept, Simulated(4)).run(400)
    trained = gradient.load(theta)
    assert float(loss(trained, batches(99, 0)).detach()) < 0.4 and torch.equal(module[0].bias, frozen)
    theta.zero_()
    assert float(module[2].weight.detach().abs().sum()) > 0  # a copy was loaded


def test_modules_that_cannot_be_one_vector_are_refused() -> None:
    module = torch.nn.Linear(2, 2)
    module.bias.data = module.bias.data.double()
    for wrong in (module, torch.nn.Linear(2, 2).requires_grad_(False)):
        with pytest.raises(ConfigError, match="trainable parameters"):
            ModuleGradient(wrong, loss, lambda worker, number: None)
