#!/usr/bin/env bash
# Query models trained on human rewrites, on an LLM's rewrites and on generated dialogs, filtered and not, side by side.
# Usage: scripts/q2d_evidence.sh DATA      DATA: folder with qrecc/, cast/, musique/ and bamboogle/ in their released forms
#   RUN=runs/q2d-evidence PAIRS=1000 QUESTIONS=1200 MODEL=smollm2 MOST=400 scripts/q2d_evidence.sh DATA
# Run it again to go on after an interruption. On two cores it takes some hours with SmolLM2; most of it is training.
set -euo pipefail
DATA=${1:?"usage: scripts/q2d_evidence.sh DATA"}
RUN=${RUN:-runs/q2d-evidence} PAIRS=${PAIRS:-1000} QUESTIONS=${QUESTIONS:-1200} MODEL=${MODEL:-smollm2} MOST=${MOST:-400}
TEST=$DATA/qrecc/infocqr_dev-sampled2k-modified.json
CAST=("$DATA/cast/llm4cs_cast19_test.json" "$DATA/cast/llm4cs_cast20_test.json")
mkdir -p "$RUN"
train() { # NAME PAIRS: one pass over the same number of pairs
  ttft q2d train "$2" --out "$RUN/$1" --model "$MODEL" --max-pairs "$PAIRS" --epochs 1 --batch 8 --lr 5e-4 \
    --set max_source_tokens=160 --exclude "$TEST" --exclude "${CAST[0]}" --exclude "${CAST[1]}"
}

train a-human "$DATA/qrecc/adaqr_4k_sft_data_with_human_rewrite.jsonl"
train b-llm "$DATA/qrecc/adaqr_4k_sft_data_with_gpt_rewrite.jsonl"

# the gold questions alone, without their conversations and without those of the test sets
[ -s "$RUN/questions.jsonl" ] || python scripts/q2d_questions.py "$DATA" > "$RUN/questions.jsonl"
ttft q2d generate "$RUN/questions.jsonl" --out "$RUN/rules" --llm rules --samples 1
ttft q2d filter "$RUN/rules" --out "$RUN/rules-filtered"
train c-rules "$RUN/rules-filtered"

# dialogs by the small model itself; the query model of the rules, which no human rewrite taught, recovers their queries
ttft q2d generate "$RUN/questions.jsonl" --out "$RUN/llm" --llm "$MODEL" --max-questions "$QUESTIONS" --samples 1 \
  --shots 2 --max-tokens 90 --set batch=24
ttft q2d filter "$RUN/llm" --out "$RUN/llm-filtered" --recover-with "$RUN/c-rules"
ttft q2d filter "$RUN/llm" --out "$RUN/llm-unfiltered" --off length --off copied --off leak --off bridge \
  --off unrecoverable --off no-context-needed --off intent --off duplicate --off surplus
kept=$(wc -l < "$RUN/llm-filtered/pairs.jsonl")
PAIRS=$((kept < PAIRS ? kept : PAIRS))
train c-llm "$RUN/llm-filtered"
train d-unfiltered "$RUN/llm-unfiltered"

models=()
for name in a-human b-llm c-rules c-llm d-unfiltered; do models+=(--model "$RUN/$name"); done
for data in "$TEST" "${CAST[@]}"; do
  ttft q2d evaluate "$data" "${models[@]}" --reference "$RUN/a-human" --max-examples "$MOST" \
    --out "$RUN/eval-$(basename "$data" .json)"
done
