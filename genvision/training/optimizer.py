"""AdamW over a family's parameters, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

from genvision.config.schema import TrainConfig


def decays(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay may pull this parameter of `module` towards zero.

    It does for what multiplies activations: tensors of two dimensions or more called `weight` (linear layers,
    convolutions, token mixing). It does not for gains, biases, embeddings, position tables and learned tokens, for
    which zero is no simpler than any other value.
    """
    return parameter.ndim >= 2 and name.endswith("weight") and not isinstance(module, nn.Embedding)


def make_optimizer(family: nn.Module, config: TrainConfig) -> AdamW:
    """Fused AdamW (Loshchilov and Hutter 2019, algorithm 2) over the trainable parameters, in two groups.

    The learning rate is assigned before each step by the loop; the one given here is only its scale.
    """
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    seen: set[nn.Parameter] = set()
    for module in family.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                groups[decays(module, name, parameter)].append(parameter)
    return AdamW(
        [
            {"params": groups[True], "weight_decay": config.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=tuple(config.betas),
        fused=True,
    )


def learning_rate(step: int, total_steps: int | None, config: TrainConfig) -> float:
    """The rate of optimizer step `step` (0 for the first): linear warm-up, then the schedule's fall towards 0.

    During warm-up the rate is (step + 1) / warmup_steps of the full one, whatever `total_steps` is (None: not yet
    known); after it the schedule sees (step - warmup_steps) / (total_steps - warmup_steps), in [0, 1).
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    if total_steps is None:
        raise ValueError(f"the {config.schedule} schedule needs total_steps once warm-up is over")
    done = min(1.0, (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    return config.learning_rate * (0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done)
