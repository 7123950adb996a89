#!/bin/bash
# Several nodes under Slurm; a job that is preempted, or reaches its time limit, is put back into the queue and goes on.
#   sbatch configs/accelerate/slurm.sh family=diffusion backbone=vit data=cifar10 run.name=long train.steps=400000
#SBATCH --job-name=genvision
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
# Two minutes before the end every process of the job step is told; it finishes its step, writes a checkpoint and ends.
# run.name and --resume auto make a first start and every later one the same command.

# `sbatch --no-requeue` leaves it at that.

set -u
RUN_DIR=${RUN_DIR:-runs}
for word in "$@"; do
  case $word in
    run.name=*) NAME=${word#run.name=} ;;
    run.dir=*) RUN_DIR=${word#run.dir=} ;;
  esac
done
STATUS="$RUN_DIR/${NAME:?run.name is needed}/status.json"
preempted() { grep -q '"state": "preempted"' "$STATUS" 2>/dev/null; }
preempted && rm "$STATUS"  # or a start that fails before it can say so would be put back for ever

FIRST_HOST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export FIRST_HOST

srun --kill-on-bad-exit=1 bash -c 'exec accelerate launch --config_file configs/accelerate/nodes.yaml \
  --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * SLURM_GPUS_ON_NODE))" \
  --machine_rank "$SLURM_NODEID" --main_process_ip "$FIRST_HOST" --main_process_port 29500 \
  train_gen.py --resume auto "$@"' genvision "$@"
status=$?

# launchers flatten exit codes; status.json has the truth
if preempted && [[ $SLURM_JOB_ID =~ ^[0-9]+$ ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
