"""The loop: accumulation, budgets, non-finite numbers, randomness that hangs on the step alone."""

from __future__ import annotations

import dataclasses
import itertools
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from test_training_toy import ToyBatches, accelerator, fingerprint, toy_config, toy_state, trained  # noqa: F401

from genvision.errors import ConfigError, NonFiniteError
from genvision.training import loop
from genvision.training.budget import measured_steps, total_steps
from genvision.training.ema import ema_decay
from genvision.training.loop import local_windows, train


@pytest.mark.parametrize("cuts", [1, 2, 4, 7])
def test_accumulation_equals_the_big_batch_at_every_step(accelerator, cuts):
    """k = 7 cuts a batch of 20 into windows of 3 whose last has 2: each example still weighs 1/20."""
    whole, cut = toy_config(batch_size=20), toy_config(batch_size=20, micro_batch_size=math.ceil(20 / cuts))
    states = [toy_state(config, accelerator, dropout=0.0) for config in (whole, cut)]
    runs = [train(state, ToyBatches(), config, accelerator) for state, config in zip(states, (whole, cut), strict=True)]
    assert len(local_windows(cut.train, accelerator)) == cuts
    for big, small in zip(*runs, strict=True):
        assert small.grad_norm == pytest.approx(big.grad_norm, rel=1e-6)
        assert small.loss == pytest.approx(big.loss, rel=1e-6)
        for p, q in zip(states[0].family.parameters(), states[1].family.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-6)


def test_gradients_travel_once_a_step(accelerator, monkeypatch):
    quiet = []
    monkeypatch.setattr(accelerator, "no_sync", lambda model: quiet.append(model) or nullcontext())
    config = toy_config(batch_size=20, micro_batch_size=6, steps=1)
    state = toy_state(config, accelerator)
    next(train(state, ToyBatches(), config, accelerator))
    assert quiet == [state.model] * 3  # of four windows


def test_reported_terms_are_means_over_the_batch(accelerator):
    config = toy_config(batch_size=10, micro_batch_size=4)
    state = toy_state(config, accelerator, dropout=0.0)
    draw = loop.Draw(config.train.seed, 0, torch.arange(10))
    expected = {name: value.mean().item() for name, value in state.family(ToyBatches().at(draw), draw).items()}
    report = next(train(state, ToyBatches(), config, accelerator))
    assert report.terms == pytest.approx(expected, rel=1e-6)
    assert (report.step, report.images_seen, report.loss) == (1, 10, report.terms["loss"])
    assert report.images_per_second == 10 / report.seconds
    assert list(report.record()) == [
        *("step", "images_seen", "loss", "error", "lr", "grad_norm", "images_per_second", "seconds")
    ]


def test_the_rate_of_the_step_is_the_one_applied(accelerator):
    config = toy_config()
    state = toy_state(config, accelerator)
    for step, report in enumerate(train(state, ToyBatches(), config, accelerator)):
        assert report.lr == loop.learning_rate(step, 12, config.train)
        assert {group["lr"] for group in state.optimizer.param_groups} == {report.lr}


def test_the_gradient_is_clipped_to_its_global_norm(accelerator):
    norms = []
    for clip in (0.01, 0):
        config = toy_config(clip_norm=clip)
        state = toy_state(config, accelerator)
        report = next(train(state, ToyBatches(), config, accelerator))
        applied = torch.cat([p.grad.flatten() for p in state.family.parameters()]).norm().item()
        norms.append((report.grad_norm, applied))
    assert norms[0][0] == norms[1][0] > 0.1
    assert norms[0][1] == pytest.approx(0.01, rel=1e-4)
    assert norms[1][1] == pytest.approx(norms[1][0], rel=1e-6)  # 0: not clipped


def test_a_nan_stops_before_the_step_with_everything_untouched(accelerator):
    config = toy_config(micro_batch_size=3)
    state = toy_state(config, accelerator, poison=4)
    seen = [fingerprint(state) for _ in itertools.islice(train(state, ToyBatches(), config, accelerator), 4)]
    numbers = "loss is nan, error is nan, grad_norm is nan"
    with pytest.raises(
        NonFiniteError, match=rf"^step 5: {numbers}; images: toy 4\.2, toy 4\.5, toy 4\.7; stopped .*learning_rate$"
    ):
        next(train(state, ToyBatches(), config, accelerator))
    assert fingerprint(state) == seen[-1]


def test_an_infinite_gradient_under_a_finite_loss_stops_too(accelerator):
    config = toy_config()
    state = toy_state(config, accelerator)
    state.family.head.bias.register_hook(lambda grad: grad * torch.inf)
    before = fingerprint(state)
    batch = ", ".join(rf"toy 0\.{k}" for k in range(8))
    with pytest.raises(NonFiniteError, match=f"^step 1: grad_norm is (inf|nan); images: {batch}; "):
        next(train(state, ToyBatches(), config, accelerator))
    parameters = torch.cat([p.detach().flatten() for p in state.family.parameters()])
    assert parameters.isfinite().all()
    assert before.isalnum() and state.step == 0 and not state.optimizer.state


def with_loss_scaling(accelerator, scale):
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
    return accelerator


def test_an_fp16_overflow_makes_the_same_step_again(accelerator):
    """The gradient of one bias overflows as fp16's would until the scale has fallen. Nothing else may have moved."""
    config = toy_config()
    plain = toy_state(config, accelerator)
    reports = list(train(plain, ToyBatches(), config, accelerator))
    scaled = toy_state(config, with_loss_scaling(accelerator, 2.0**30))
    scaled.family.head.bias.register_hook(lambda grad: torch.where(grad.abs() > 65504, torch.inf, grad))
    scaled.model.forward = type(scaled.family).forward.__get__(scaled.family)  # the CPU has no fp16 to cast to
    again = list(train(scaled, ToyBatches(), config, accelerator))
    assert [(r.step, r.images_seen, r.lr) for r in again] == [(r.step, r.images_seen, r.lr) for r in reports]
    assert [r.loss for r in again] == pytest.approx([r.loss for r in reports], rel=1e-5)
    assert scaled.ema.updates == 12 and scaled.optimizer.scaler.get_scale() < 2.0**25
    assert {int(entry["step"]) for entry in scaled.optimizer.state.values()} == {12}


def test_fp16_gives_up_where_no_scale_helps(accelerator):
    config = toy_config()
    state = toy_state(config, with_loss_scaling(accelerator, 2.0**4))
    state.model.forward = type(state.family).forward.__get__(state.family)
    state.family.head.bias.register_hook(lambda grad: grad * torch.nan)
    with pytest.raises(NonFiniteError, match="^step 1: grad_norm"):
        next(train(state, ToyBatches(), config, accelerator))
    assert state.optimizer.scaler.get_scale() == 1 and state.step == 0


def test_observation_does_not_disturb(accelerator):
    """Sampling, drawing random numbers and switching modes between steps changes no bit of the training."""
    config = toy_config(micro_batch_size=3)
    quiet = fingerprint(trained(config, accelerator))
    state = toy_state(config, accelerator)
    for _ in train(state, ToyBatches(), config, accelerator):
        torch.manual_seed(99)
        torch.rand(7)
        state.ema.module.sample(3, seed=1, chunk_size=2)
        state.family.sample(2, seed=2, chunk_size=2)
        state.family.eval()
    assert fingerprint(state) == quiet


def test_dropout_is_on_and_hangs_on_seed_and_step(accelerator):
    runs = [trained(toy_config(seed=seed), accelerator, dropout=0.5) for seed in (5, 5, 6)]
    assert fingerprint(runs[0]) == fingerprint(runs[1]) != fingerprint(runs[2])
    assert fingerprint(trained(toy_config(), accelerator, dropout=0.0)) != fingerprint(runs[0])
    state, seeds = toy_state(toy_config(), accelerator), []
    state.family.dropout.register_forward_pre_hook(lambda *_: seeds.append(torch.initial_seed()))
    for _ in train(state, ToyBatches(), toy_config(), accelerator):
        pass
    assert len(set(seeds)) == len(seeds) == 12


def test_the_average_follows_its_formula(accelerator):
    """d_n = min(decay, (1 + n) / (10 + n)), weights and buffers alike, from the weights at the start."""
    config = toy_config()
    state = toy_state(config, accelerator)
    live = lambda: {n: t.double().clone() for n, t in state.family.state_dict().items() if n != "count"}  # noqa: E731
    expected = live()
    for n, _ in enumerate(train(state, ToyBatches(), config, accelerator)):
        decay = min(0.9, (1 + n) / (10 + n))
        expected = {name: decay * expected[name] + (1 - decay) * value for name, value in live().items()}
        for name, value in expected.items():
            torch.testing.assert_close(state.ema.module.state_dict()[name].double(), value, rtol=1e-5, atol=1e-6)
        assert state.ema.module.count == state.family.count == 8 * (n + 1)
    assert state.ema.module.mask.tolist() == [0.0, -math.inf]
    assert state.ema.updates == 12 and not state.ema.module.training
    assert not any(p.requires_grad for p in state.ema.module.parameters())
    assert [ema_decay(n, 0.999) for n in (0, 90, 10**6)] == [0.1, 0.91, 0.999]


def test_a_batch_that_cannot_be_shared_is_refused(accelerator):
    with pytest.raises(ConfigError, match="batch_size=0"):
        local_windows(toy_config(batch_size=0).train, accelerator)


def test_budgets_in_steps_and_images():
    assert total_steps(toy_config(steps=7).train) == 7
    assert total_steps(toy_config(steps=None, images=801, batch_size=8).train) == 101
    assert total_steps(toy_config(steps=None, minutes=1.0, warmup_steps=20).train) is None


def test_measured_steps_fill_what_is_left_of_the_budget():
    assert measured_steps(1.0, [4.0] * 5 + [0.5] * 15, 20, 27.5) == 20 + 65  # 60 - 27.5 = 32.5 seconds at 0.5 each
    assert measured_steps(0.1, [4.0] * 20, 20, 80.0) == 20  # already over
    assert measured_steps(1.0, [0.5], 20, 30.5) == 20 + 59  # resumed one step before the freeze, after 30 seconds


class Clock:
    """A step takes 0.4 s, the first three take 2.4 s."""

    def __init__(self):
        self.now, self.calls = 0.0, 0

    def __call__(self):
        self.calls += 1
        self.now += (0.0 if self.calls % 2 else 0.4) + (2.0 if self.calls in (2, 4, 6) else 0.0)
        return self.now


def test_minutes_freeze_into_steps_that_give_the_same_run(accelerator, monkeypatch):
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=Clock()))
    config = toy_config(steps=None, minutes=0.405, warmup_steps=20)
    state = toy_state(config, accelerator)
    totals = [state.total_steps for _ in train(state, ToyBatches(), config, accelerator)]
    assert totals[:19] == [None] * 19 and set(totals[19:]) == {45}  # 24.3 s, 14 of them gone after 20 steps
    assert state.step == 45
    frozen = dataclasses.replace(config, train=dataclasses.replace(config.train, minutes=None, steps=45))
    assert fingerprint(trained(frozen, accelerator)) == fingerprint(state)
