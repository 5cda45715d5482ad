#!/bin/sh
# SPDX-License-Identifier: MIT
# Trains on four machines, two processes on each: sbatch examples/slurm.sh. Started again, it goes on
# from the last checkpoint.
#SBATCH --job-name=meanflow
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
exec srun --kill-on-bad-exit=1 build/bin/cifar10 train --quiet \
  --config examples/cifar10/configs/meanflownet.yaml --data cifar-10-batches-bin --workdir out/meanflownet
