#!/usr/bin/env bash
# The Slurm job after the array of finetune-eval.sh: the report of the run whose jobs are in OUT.
# Usage: sbatch --dependency=afterok:ARRAY scripts/slurm/report.sh OUT [-- OTHER RUNS or OPTIONS of ttft report]
#SBATCH --job-name=ttft-report --requeue
set -euo pipefail
usage() { sed -n '2,/^set/s/^# //p' "$0" && exit "$1"; }
[ "${1:-}" != -h ] || usage 0
[ $# -eq 1 ] || [ "${2:-}" = -- ] || usage 2 >&2

exec ttft report "$1" "${@:3}"
