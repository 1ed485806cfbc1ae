#!/usr/bin/env bash
# What slurm/submit.sh does, on one machine: N jobs, JOBS of them at a time, then what joins them.
# Usage: scripts/local_jobs.sh index N OUT SOURCE [-- OPTIONS of ttft index]
#        scripts/local_jobs.sh finetune-eval N OUT INDEX PROMPTS [-- OPTIONS of ttft finetune-eval]
#   JOBS=2 OMP_NUM_THREADS=1 scripts/local_jobs.sh ...    threads of a job: default, the cores shared by JOBS
# Uses GNU parallel where it is installed, else xargs. Logs are in OUT/logs. Run again, it does only what is missing.
set -euo pipefail
usage() { sed -n '2,/^set/s/^# //p' "$0" && exit "$1"; }
[ "${1:-}" != -h ] || usage 0
[ $# -ge 4 ] || usage 2 >&2
SLURM=$(cd "$(dirname "$0")/slurm" && pwd) JOB=$1 TOTAL_JOBS=$2 OUT=$3 JOBS=${JOBS:-2}
case $JOB in
  index) last=index-merge ;;
  finetune-eval) last=report ;;
  *) usage 2 >&2 ;;
esac
threads=$(($(getconf _NPROCESSORS_ONLN) / JOBS))
OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 1 ? threads : 1))}
ARGUMENTS=$(printf '%q ' "${@:3}")
export SLURM JOB TOTAL_JOBS OUT OMP_NUM_THREADS ARGUMENTS

task() { # I
  local i=$1 log="$OUT/logs/$JOB-$1-of-$TOTAL_JOBS.log"
  eval "set -- $ARGUMENTS"
  SLURM_ARRAY_TASK_ID=$i "$SLURM/$JOB.sh" "$@" >> "$log" 2>&1 && echo "$JOB $i/$TOTAL_JOBS is done" >&2 && return
  echo "$JOB $i/$TOTAL_JOBS failed: see $log" >&2
  return 1
}
export -f task

mkdir -p "$OUT/logs"
each=(xargs -P "$JOBS" -n 1)
[[ $(parallel --version 2> /dev/null || true) != "GNU parallel"* ]] || each=(parallel --quote --jobs "$JOBS")
# shellcheck disable=SC2016 # $1 is the number that xargs or parallel adds
seq "$TOTAL_JOBS" | "${each[@]}" bash -c 'task "$1"' task || exit 1
"$SLURM/$last.sh" "$OUT"
