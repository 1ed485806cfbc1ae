#!/usr/bin/env bash
# The whole line on real text, offline: the Python standard library as corpus, held-out files of it as prompts.
# Usage: scripts/demo.sh          results in runs/demo; run it again to go on after an interruption
#   PROMPTS=24 CHARS=5000000 RUN=runs/demo scripts/demo.sh
set -euo pipefail
cd "$(dirname "$0")/.."
RUN=${RUN:-runs/demo} PROMPTS=${PROMPTS:-24} CHARS=${CHARS:-5000000}
export HF_HUB_OFFLINE=1
say() { printf '\n\033[1m$ %s\033[0m\n' "$*" >&2; "$@"; }

[ -s "$RUN/corpus.jsonl" ] || say python scripts/demo_corpus.py "$RUN" --prompts "$PROMPTS" --corpus-chars "$CHARS"
say ttft index "$RUN/corpus.jsonl" --out "$RUN/index"
say ttft select "$RUN/index" --prompt 'def merge_sort(items): """Sort a list by merging sorted halves."""' -n 5
for run in nearest sift adaptive-sift; do
  say ttft finetune-eval "$RUN/index" --prompts "$RUN/prompts.jsonl" --out "$RUN/$run" --config "configs/demo/$run.yaml"
done
say ttft report "$RUN/nearest" "$RUN/sift" "$RUN/adaptive-sift" --out "$RUN/report.html" --set subsets=false
