#!/usr/bin/env bash
# The Slurm job after the array of index.sh: its parts become the index OUT.
# Usage: sbatch --dependency=afterok:ARRAY scripts/slurm/index-merge.sh OUT [-- OPTIONS of ttft index merge]
#SBATCH --job-name=ttft-index-merge --requeue
set -euo pipefail
usage() { sed -n '2,/^set/s/^# //p' "$0" && exit "$1"; }
[ "${1:-}" != -h ] || usage 0
[ $# -eq 1 ] || [ "${2:-}" = -- ] || usage 2 >&2

exec ttft index merge "$1"/parts/* --out "$1" "${@:3}"
