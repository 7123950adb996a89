"""What of a training state is tensors: taken out by name, checked by name, shape and type, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genvision.errors import RunError
from genvision.training.sharding import share_of, whole


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and kept buffers by name, as dense copies in host memory."""
    return {name: _host_copy(tensor) for name, tensor in module.state_dict().items()}


def optimizer_tensors(optimizer: Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Moments and step counts as "parameter.entry", for every parameter that has been stepped."""
    return {
        f"{name}.{entry}": _host_copy(value)
        for name, parameter in module.named_parameters()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def check_module(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises RunError unless the tensors are exactly those of the module: names, shapes, types."""
    _check(module.state_dict(), tensors, where)


def check_optimizer(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises RunError unless each parameter has all of Adam's entries, in its own shape, or none."""
    expected = {}
    for name, parameter in module.named_parameters():
        entries = {f"{name}.exp_avg": parameter, f"{name}.exp_avg_sq": parameter, f"{name}.step": torch.zeros(())}
        expected |= entries if entries.keys() & tensors.keys() else {}
    _check(expected, tensors, where)


@torch.no_grad()
def restore_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies checked tensors into the module's own, so that nothing stays tied to the file they came from."""
    for name, tensor in module.state_dict().items():
        tensor.copy_(share_of(tensors[name], tensor))


def restore_optimizer(optimizer: Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts checked moments back. They take the memory layout of their parameter: the fused kernels assume it."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    state = optimizer.state_dict()
    state["state"] = {}
    for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        name = names[parameter]
        if f"{name}.step" in tensors:
            state["state"][index] = {
                "step": tensors[f"{name}.step"].clone(),
                **{entry: _moment(tensors[f"{name}.{entry}"], parameter) for entry in ("exp_avg", "exp_avg_sq")},
            }
    optimizer.load_state_dict(state)


def hand_over_shares(module: nn.Module, optimizer: Optimizer) -> None:
    """What the other processes do while one takes `module_tensors` and `optimizer_tensors`, in the same order."""
    for tensor in module.state_dict().values():
        whole(tensor)
    for parameter in module.parameters():
        for value in optimizer.state.get(parameter, {}).values():
            whole(value)


def _moment(value: Tensor, parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter).copy_(share_of(value, parameter)).detach()


def _host_copy(tensor: Tensor) -> Tensor:
    return whole(tensor.detach()).to("cpu", copy=True).contiguous()


def _check(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    for fault in _differences(expected, found):
        raise RunError(
            f"{where}: does not belong to this model ({fault}); resume with the configuration it was made by"
        )


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    yield from (f"{name} is missing" for name in expected if name not in found)
    yield from (f"{name} is unknown" for name in found if name not in expected)
    for name, tensor in expected.items():
        ours, theirs = (tuple(tensor.shape), tensor.dtype), (tuple(found[name].shape), found[name].dtype)
        if ours != theirs:
            yield f"{name} is {theirs[0]} {theirs[1]}, not {ours[0]} {ours[1]}"
