"""Several processes that train one model, each on its own device, as torchrun or `accelerate launch` start them.

Every process runs the whole command. A step's batch and an evaluation's clips are shared out; what comes of them is
the same in all, and the main process alone writes and speaks.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor

from toolkit.core.errors import InputError, MachineError

T = TypeVar("T")
# What accelerate's launcher, or `accelerate config`, may have set, and Trainer would heed. The recipe and --device say
# it all; other ways to share a model out than a copy for each process are refused.
OVERRULED = ("MIXED_PRECISION", "DYNAMO_BACKEND", "USE_CPU", "TORCH_DEVICE")
REFUSED = ("USE_DEEPSPEED", "USE_FSDP", "USE_MEGATRON_LM", "USE_PARALLELISM_CONFIG")


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Of this process, 0 for the main one."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def here() -> int:
    """How many of them share this host's memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", count())) if count() > 1 else 1


def join(device: torch.device) -> torch.device:
    """Meet the others, by NCCL on CUDA and gloo on the CPU; the device that is this process's own.

    Raises MachineError for more processes than devices, InputError for ones that were started by hand, or to share
    the model out in a way that is not ours.
    """
    for name in REFUSED:
        if os.environ.get(f"ACCELERATE_{name}", "").lower() == "true":
            raise InputError(f"ACCELERATE_{name} is set; finetune trains a whole model in each process: "
                             "`accelerate launch --multi_gpu`")  # fmt: skip
    for name in OVERRULED:
        os.environ.pop(f"ACCELERATE_{name}", None)
    if count() == 1:
        return device
    if not {"LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise InputError("WORLD_SIZE is set, and no launcher's other variables; start with torchrun or accelerate")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if device.index >= torch.cuda.device_count():
            raise MachineError(f"{count()} processes want a CUDA device each, here are {torch.cuda.device_count()}")
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def leave() -> None:
    """Leave the process group, so that no process ends while another waits for it."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def wait() -> None:
    """Until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def main_first(read: Callable[[], T]) -> T:
    """What `read` returns; the main process reads, and tidies what it tidies, before the others."""
    if rank():
        wait()
    value = read()
    if not rank():
        wait()
    wait()
    return value


def summed(values: Tensor) -> Tensor:
    """Over all processes; each has filled in its own part and zeros elsewhere. Changes `values`."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values
