#!/usr/bin/env bash
# One task of a Slurm array: part I of N of an index, into OUT/parts/part-I-of-N. Run again, it does what is missing.
# Usage: sbatch --array=1-8 scripts/slurm/index.sh OUT SOURCE [-- OPTIONS of ttft index]
#   TOTAL_JOBS=8 sbatch --array=3,5 scripts/slurm/index.sh ...  only these; N is TOTAL_JOBS, else the array's size
#SBATCH --job-name=ttft-index --requeue
set -euo pipefail
usage() { sed -n '2,/^set/s/^# //p' "$0" && exit "$1"; }
[ "${1:-}" != -h ] || usage 0
[ $# -eq 2 ] || [ "${3:-}" = -- ] || usage 2 >&2
out=$1 source=$2
i=${SLURM_ARRAY_TASK_ID:?"start it with sbatch --array=1-N"} n=${TOTAL_JOBS:-${SLURM_ARRAY_TASK_COUNT:?}}

exec ttft index "$source" --out "$out/parts/part-$i-of-$n" --job "$i/$n" "${@:4}"
