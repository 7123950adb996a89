"""The files of configs/accelerate: read by accelerate, run where a CPU can, and put back into the queue by Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from runs import TINY, RunFolder, fresh_launch, pictures  # noqa: F401

from genvision.config.schema import Config
from genvision.errors import ConfigError
from genvision.evaluation.record import read_record
from genvision.training.launch import make_accelerator

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs" / "accelerate"
EXPECTED = {
    "cpu": {"num_processes": 1, "num_machines": 1, "use_cpu": True, "distributed_type": "NO"},
    "two_cpu_processes": {"num_processes": 2, "num_machines": 1, "use_cpu": False, "distributed_type": "MULTI_GPU"},
    "one_gpu": {"num_processes": 1, "num_machines": 1, "use_cpu": False, "distributed_type": "NO"},
    "gpus": {"num_processes": 8, "num_machines": 1, "use_cpu": False, "distributed_type": "MULTI_GPU"},
    "nodes": {"num_processes": 16, "num_machines": 2, "use_cpu": False, "distributed_type": "MULTI_GPU"},
}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_accelerate_reads_the_file_as_it_is_meant(name):
    file = FOLDER / f"{name}.yaml"
    config = load_config_from_file(str(file))
    found = {key: getattr(config, key) for key in EXPECTED[name]}
    assert found | {"distributed_type": found["distributed_type"].value} == EXPECTED[name]
    assert config.mixed_precision == "no" and set(yaml.safe_load(file.read_text())) <= set(vars(config))
    assert f"accelerate launch --config_file configs/accelerate/{name}.yaml" in file.read_text()
    assert f"configs/accelerate/{name}.yaml" in (ROOT / "docs" / "CLUSTERS.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "word"),
    [("cpu", "run.name=run"), ("two_cpu_processes", "run.name=run"), ("two_cpu_processes", "train.shard=true")],
)
def test_the_files_for_cpus_train(pictures, tmp_path, name, word):
    words = (f"data=folder:{pictures}", *TINY, "backbone=vit", f"run.dir={tmp_path}", "run.name=run", word)
    launch = ("-m", "accelerate.commands.launch", "--config_file", str(FOLDER / f"{name}.yaml"), "--quiet")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, *launch, str(ROOT / "train_gen.py"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_record(RunFolder(tmp_path / "run").result)["processes"] == EXPECTED[name]["num_processes"]


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED", "MEGATRON_LM"])
def test_other_engines_that_split_weights_are_refused(monkeypatch, kind):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(ConfigError, match=f"launched under {kind}.* by train.shard=true"):
        make_accelerator(Config())


def submitted(folder, srun, job="4711"):
    """configs/accelerate/slurm.sh, and what was put back into the queue; srun, scontrol, accelerate are stand-ins."""
    tools = {
        "scontrol": f'if [ "$1" = show ]; then echo first; echo second; else echo "$@" >> {folder}/queued; fi',
        "srun": srun,
        "accelerate": f'printf "%s\\n" "$@" > {folder}/told; exit 1',
    }
    for name, script in tools.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_NODEID": "1"}
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_GPUS_ON_NODE": "8"}
    command = ["bash", str(FOLDER / "slurm.sh"), "family=vae", "run.name=long"]
    done = subprocess.run(
        command, env=os.environ | slurm | path, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr == ""
    queued = folder / "queued"
    return queued.read_text().splitlines() if queued.exists() else []


def write_state(folder, state):
    (folder / "runs" / "long").mkdir(parents=True, exist_ok=True)
    (folder / "runs" / "long" / "status.json").write_text(json.dumps({"state": state, "step": 3}, indent=2))


@pytest.mark.parametrize(("state", "queued"), [("preempted", ["requeue 4711"]), ("failed", []), ("finished", [])])
def test_slurm_puts_a_preempted_job_back_once(tmp_path, state, queued):
    write_state(tmp_path, state)
    shutil.move(tmp_path / "runs" / "long" / "status.json", tmp_path / "ending.json")
    assert submitted(tmp_path, f"cp {tmp_path}/ending.json runs/long/status.json; exit 1") == queued


@pytest.mark.parametrize(("state", "srun", "job"), [("preempted", "exit 1", "4711"), ("running", "", "1;touch x")])
def test_slurm_puts_back_nothing_else(tmp_path, state, srun, job):
    """Neither what was preempted before and has not started again, nor what is no number."""
    write_state(tmp_path, state)
    ends = srun or "sed -i s/running/preempted/ runs/long/status.json; exit 1"
    assert submitted(tmp_path, ends, job) == [] and not (tmp_path / "x").exists()


def test_slurm_leaves_a_finished_run_as_it_is(tmp_path):
    write_state(tmp_path, "finished")
    submitted(tmp_path, "exit 1")
    assert json.loads((tmp_path / "runs" / "long" / "status.json").read_text())["state"] == "finished"


def test_slurm_starts_accelerate_on_every_node(tmp_path):
    submitted(tmp_path, 'shift; exec "$@"')
    assert (tmp_path / "told").read_text().splitlines() == [
        *("launch", "--config_file", "configs/accelerate/nodes.yaml", "--num_machines", "2", "--num_processes", "16"),
        *("--machine_rank", "1", "--main_process_ip", "first", "--main_process_port", "29500"),
        *("train_gen.py", "--resume", "auto", "family=vae", "run.name=long"),
    ]
