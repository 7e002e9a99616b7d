"""Runs a program of a project under FSDP on CPU: `torchrun ... sharding.py train.py OPTIONS`.

On CPU, Accelerate takes DDP whatever its configuration says. Here it is told that there are GPUs, but not which device
to use: then it shards by `fully_shard`, as `accelerate launch --use_fsdp --fsdp_version 2` does where there are some.
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch.distributed.fsdp as fsdp
from accelerate.state import DistributedType, PartialState

os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2", FSDP_CPU_RAM_EFFICIENT_LOADING="true")
PartialState(cpu=True)
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
shard = fsdp.fully_shard


def told(module: Any, **options: Any) -> Any:
    """`fully_shard`, and a line on how much of a weight each process has."""
    sharded = shard(module, **options)
    print("sharded:", [tuple(p.to_local().shape) for p in sharded.parameters()])
    return sharded


fsdp.fully_shard = told
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path.cwd()))
runpy.run_path(sys.argv[0], run_name="__main__")
