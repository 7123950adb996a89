"""Weights, gradients and moments shared out among the processes, and whole again where somebody needs them whole."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from genvision.families.base import Family
from genvision.networks.network import REPEATED_BLOCKS


def shard(family: Family, accelerator: Accelerator) -> None:
    """Splits every parameter of `family`, which is on its device, among the processes, in place.

    Each process keeps a slice of the first dimension of each parameter, and so of its gradient and moments. A block's
    parameters are gathered before it runs, forward and backward, and let go after it; the rest of the family stays
    gathered through a step (ZeRO, Rajbhandari et al. 2020, section 5.3; torch's FSDP2). All start from the weights of
    the first process, as under DistributedDataParallel.
    """
    broadcast(list(family.state_dict().values()))
    for parameter in family.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 knows no channels_last
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    blocks = [module for module in family.modules() if type(module).__name__ in REPEATED_BLOCKS]
    for module in (*reversed(blocks), family):  # the inner ones first
        fully_shard(module, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each process has a share, a collective call; any other one itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share_of(value: Tensor, tensor: Tensor) -> Tensor:
    """What a process keeps of a whole `value`, where it keeps its share of `tensor`; no process asks another."""
    if not isinstance(tensor, DTensor):
        return value
    return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)
