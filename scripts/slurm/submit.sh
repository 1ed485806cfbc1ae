#!/usr/bin/env bash
# An index or a run as a Slurm array of N tasks and, when all of them are done, the job that joins what they made.
# Usage: scripts/slurm/submit.sh index N OUT SOURCE [-- OPTIONS of ttft index]
#        scripts/slurm/submit.sh finetune-eval N OUT INDEX PROMPTS [-- OPTIONS of ttft finetune-eval]
#   ARRAY_OPTIONS="--gpus=1 --time=8:00:00" scripts/slurm/submit.sh ...    sbatch's options for each task of the array
#   SBATCH_ACCOUNT=us scripts/slurm/submit.sh ...                          sbatch's own variables: for all jobs
# Logs are in OUT/logs. Submit it again, the same, after a failure: it does only what is missing.
set -euo pipefail
usage() { sed -n '2,/^set/s/^# //p' "$0" && exit "$1"; }
[ "${1:-}" != -h ] || usage 0
[ $# -ge 4 ] || usage 2 >&2
here=$(cd "$(dirname "$0")" && pwd) job=$1 n=$2 out=$3
case $job in
  index) last=index-merge ;;
  finetune-eval) last=report ;;
  *) usage 2 >&2 ;;
esac

mkdir -p "$out/logs"
submit() { # LOG options..., a script and its arguments -> the job's number
  local number
  number=$(TOTAL_JOBS=$n sbatch --parsable --open-mode=append --output="$out/logs/$1" "${@:2}")
  echo "${number%%;*}"
}
# shellcheck disable=SC2086 # ARRAY_OPTIONS is a list of options
array=$(submit "$job-%a-of-$n.log" --array="1-$n" ${ARRAY_OPTIONS:-} "$here/$job.sh" "${@:3}")
after=(--dependency="afterok:$array" --kill-on-invalid-dep=yes)
joining=$(submit "$last.log" "${after[@]}" "$here/$last.sh" "$out")
echo "$job: job $array, $n tasks; then $last: job $joining; logs in $out/logs"
