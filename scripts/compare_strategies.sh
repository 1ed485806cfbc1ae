#!/usr/bin/env bash
# Every strategy at N = 5, 10, 20, 50, the calibrated rule and the budget, on the same prompts; then one report.
# Usage: scripts/compare_strategies.sh INDEX REPORT.jsonl VALIDATION.jsonl
#   RUN=runs/compare CHARS=2400 KEEP=0.6 scripts/compare_strategies.sh ...     prompts: from scripts/split_prompts.py
# TRAINING is --method full unless you say otherwise: with a rate that falls over a prompt's steps, as the embedded model's LoRA
# has it, the score after 5 steps of a run of 50 is not that of a run of 5.
# The policy is fitted on the validation prompts only. Run it again to go on after an interruption.
set -euo pipefail
INDEX=${1:?"usage: scripts/compare_strategies.sh INDEX REPORT.jsonl VALIDATION.jsonl"}
REPORT=${2:?"and the prompts to report"} VALIDATION=${3:?"and the prompts to calibrate on"}
RUN=${RUN:-runs/compare} CHARS=${CHARS:-2400} KEEP=${KEEP:-0.6} TRAINING=${TRAINING:---method full}

one() { # NAME PROMPTS options...
  local name=$1 prompts=$2
  shift 2
  # shellcheck disable=SC2086 # TRAINING is a list of options
  ttft finetune-eval "$INDEX" --prompts "$prompts" --out "$RUN/$name" --set max_prompt_chars="$CHARS" $TRAINING "$@"
}

for strategy in sift itl nearest mmr uncertainty nearest-failure uniform; do
  one "$strategy" "$REPORT" --strategy "$strategy" -n 50 --set score_at='[0,5,10,20,50]'
done
for n in 5 10 20 50; do one "hull-$n" "$REPORT" --strategy hull -n "$n" --set score_at='[0]'; done

one validation "$VALIDATION" -n 50 --set score_at='[0,2,5,10,15,20,30,40,50]'
ttft calibrate "$RUN/validation" --out "$RUN/policy.json" --keep "$KEEP"
one calibrated "$REPORT" -n 50 --policy "$RUN/policy.json" --set score_at='[0]'
prompts=$(wc -l < "$RUN/sift/results.jsonl")
one budget "$REPORT" -n 50 --policy "$RUN/policy.json" --budget-steps $((12 * prompts)) --set score_at='[0]'

ttft report "$RUN"/{sift,itl,nearest,mmr,uncertainty,nearest-failure,uniform,calibrated,budget} --out "$RUN/report.html"
