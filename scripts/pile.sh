#!/usr/bin/env bash
# The same line on the Pile: index, fine-tune and score GPT-2 for each strategy, report. Needs the Hugging Face hub.
# Usage: scripts/pile.sh PROMPTS.jsonl.zst      for example the test split of monology/pile-uncopyrighted
#   EMBEDDER=roberta scripts/pile.sh ...        TTT-NN's embedder: CC-BY-NC-4.0, not for commercial use; default: minilm
#   DOCUMENTS=1000000 PROMPTS_MAX=150 RUN=runs/pile STRATEGIES="nearest sift adaptive-sift" scripts/pile.sh ...
set -euo pipefail
PROMPTS=${1:?"usage: scripts/pile.sh PROMPTS.jsonl.zst"}
EMBEDDER=${EMBEDDER:-minilm} DOCUMENTS=${DOCUMENTS:-100000} PROMPTS_MAX=${PROMPTS_MAX:-150} RUN=${RUN:-runs/pile}
STRATEGIES=${STRATEGIES:-"nearest sift adaptive-sift"}
HERE=$(cd "$(dirname "$0")/.." && pwd)
index="$RUN/index-$EMBEDDER"

ttft index --config "$HERE/configs/index/pile-$EMBEDDER.yaml" --max-documents "$DOCUMENTS" --out "$index"
runs=()
for strategy in $STRATEGIES; do
  run="$RUN/gpt2-$EMBEDDER-$strategy"
  ttft finetune-eval "$index" --prompts "$PROMPTS" --max-prompts "$PROMPTS_MAX" --out "$run" \
    --config "$HERE/configs/finetune-eval/paper-$strategy.yaml"
  runs+=("$run")
done
ttft report "${runs[@]}" --out "$RUN/report-$EMBEDDER.html"
