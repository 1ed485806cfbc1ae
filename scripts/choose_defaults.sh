#!/usr/bin/env bash
# Choose method, learning rate and SIFT's lambda for the embedded model on prompts that are never reported.
# Usage: scripts/choose_defaults.sh INDEX CHOOSE.jsonl     CHOOSE.jsonl: from scripts/split_prompts.py
#   RUN=runs/choose MAX=32 CHARS=1200 scripts/choose_defaults.sh ...
# First the training settings with nearest neighbours, then lambda with the best of them (BEST="--method full --lr 3e-4").
set -euo pipefail
INDEX=${1:?"usage: scripts/choose_defaults.sh INDEX CHOOSE.jsonl"} PROMPTS=${2:?"and the prompts"}
RUN=${RUN:-runs/choose} MAX=${MAX:-32} CHARS=${CHARS:-1200}

one() { # NAME options...
  local name=$1
  shift
  ttft finetune-eval "$INDEX" --prompts "$PROMPTS" --max-prompts "$MAX" --out "$RUN/$name" \
    --set max_prompt_chars="$CHARS" --set score_at='[0,5,20]' "$@"
}

if [ -z "${BEST:-}" ]; then
  for lr in ${FULL_RATES:-1e-4 3e-4 6e-4}; do one "full-$lr" --strategy nearest --method full --lr "$lr"; done
  for rank in ${RANKS:-16 32}; do
    for lr in ${LORA_RATES:-2e-3 2.5e-3 3e-3}; do
      for down in ${WARM_DOWN:-1 0.1}; do
        one "lora-$rank-$lr-$down" --strategy nearest --method lora --vocabulary lora --rank "$rank" --lr "$lr" \
          --set rslora="${RSLORA:-false}" --set warm_down="$down"
      done
    done
  done
  one "lora-blocks" --strategy nearest --method lora --vocabulary off
else
  # shellcheck disable=SC2086 # BEST is a list of options
  for lambda in ${LAMBDAS:-0.01 0.1 0.3 1.0 3.0}; do one "sift-$lambda" --lambda "$lambda" $BEST; done
fi
