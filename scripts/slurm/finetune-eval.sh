#!/usr/bin/env bash
# One task of a Slurm array: job I of N of the prompts, into OUT/job-I-of-N. Run again, it does what is missing.
# Usage: sbatch --array=1-8 scripts/slurm/finetune-eval.sh OUT INDEX PROMPTS [-- OPTIONS of ttft finetune-eval]
#   TOTAL_JOBS=8 sbatch --array=3,5 scripts/slurm/finetune-eval.sh ...  only these; N is TOTAL_JOBS, else the array's size
#SBATCH --job-name=ttft-finetune-eval --requeue
set -euo pipefail
usage() { sed -n '2,/^set/s/^# //p' "$0" && exit "$1"; }
[ "${1:-}" != -h ] || usage 0
[ $# -eq 3 ] || [ "${4:-}" = -- ] || usage 2 >&2
out=$1 index=$2 prompts=$3
i=${SLURM_ARRAY_TASK_ID:?"start it with sbatch --array=1-N"} n=${TOTAL_JOBS:-${SLURM_ARRAY_TASK_COUNT:?}}

exec ttft finetune-eval "$index" --prompts "$prompts" --out "$out/job-$i-of-$n" --job "$i/$n" "${@:5}"
