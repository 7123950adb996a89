"""The accelerator of a run: devices, processes, threads, precision.

What is equal to the bit: two runs of one configuration on one CPU machine, and a resumed run with an uninterrupted one.
On an accelerator, torch's atomics may add in another order; for bits there, set CUBLAS_WORKSPACE_CONFIG=:4096:8 and
torch.use_deterministic_algorithms(True) at the price of speed. Another number of processes or micro-batches changes the
order of the sums (differences near 1e-7) and which numbers dropout draws.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, gather_object

from genvision.config.schema import Config
from genvision.data.image_set import ImageSet
from genvision.errors import ConfigError, DataError
from genvision.machine import available_cores
from genvision.sampling.sharing import ON_CPUS, own_device, processes
from genvision.training.precision import resolve_precision

_SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
_log = logging.getLogger(__name__)


def make_accelerator(config: Config) -> Accelerator:
    """An Accelerator for this machine, its threads set; raises ConfigError where the launch was not what was asked for.

    Nothing is left to accelerate's environment variables: accumulation is the loop's own, and buffers are shared by the
    loop once a step (DDP would send constant masks too, before every forward).
    """
    for kind in _SHARDED:
        if os.environ.get(f"ACCELERATE_USE_{kind}", "false").lower() == "true":
            raise ConfigError(
                f"launched under {kind}, which is not used here; launch with accelerate launch --multi_gpu, and split "
                "weights, gradients and moments among the processes by train.shard=true"
            )
    place = processes(timedelta(minutes=config.run.timeout_minutes))
    if place.is_main_process and (wanted := _processes_asked_for()) > place.num_processes:
        _log.warning("accelerate launch --num_processes %d starts one process on CPUs; use %s", wanted, ON_CPUS)
    set_threads(config.run.threads, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    precision = resolve_precision(config.train.precision, own_device())
    if config.train.shard and (precision == "fp16" or config.train.compile):
        what = "compile=true" if config.train.compile else "precision=fp16"
        raise ConfigError(f"train.shard=true does not go with train.{what}; leave one of them out")
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def _processes_asked_for() -> int:
    """N of `accelerate launch --num_processes N`, read off the parent's command line; else 1."""
    parent = psutil.Process().parent()
    try:
        words = " ".join(parent.cmdline() if parent else ())
    except psutil.Error:  # of another user, or gone
        return 1
    found = re.search(r"accelerate.*--num[-_]processes[ =](\d+)", words)
    return int(found[1]) if found else 1


def set_threads(asked: int | None, local_processes: int) -> None:
    """Gives this process `asked` CPU threads, or its even share of the cores where a launcher has left it one.

    `accelerate launch` and torchrun set OMP_NUM_THREADS=1, which would idle all cores but one of a CPU run. A value
    that a person chose without a launcher, or any other than 1, is respected.
    """
    launched = any(name.startswith(("ACCELERATE_", "TORCHELASTIC_")) for name in os.environ)
    if asked is None and launched and os.environ.get("OMP_NUM_THREADS") == "1":
        asked = max(1, available_cores() // local_processes)
    if asked is not None:
        torch.set_num_threads(asked)


def anywhere(here: bool, accelerator: Accelerator) -> bool:
    """Whether something is so in any process: a collective call, with one answer for all."""
    if here:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def same_everywhere(images: ImageSet) -> ImageSet:
    """The training images, once every process has been seen to hold the same ones. Raises DataError on all of them."""
    if len(set(gather_object([images.fingerprint]))) > 1:
        raise DataError(
            f"{images.name}: the processes have read different images (files that changed or could not be read on one "
            "machine?); start again, or give all of them the same copy"
        )
    return images


def header(accelerator: Accelerator) -> str:
    """One line for the top of a run: device, processes, threads, precision, torch."""
    processes = accelerator.num_processes
    return (
        f"device {device_name(accelerator)} | processes {processes} | threads {torch.get_num_threads()} each | "
        f"precision {accelerator.mixed_precision} | torch {torch.__version__}"
    )


def device_name(accelerator: Accelerator) -> str:
    """The model of the accelerator, or "cpu"."""
    device = accelerator.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
