#!/usr/bin/env bash
# Methods of `ttft adapt` on simulated clusters of several sizes, equal and unequal machines, several seeds; then one report.
# Usage: scripts/adapt_grid.sh INDEX VALIDATION.jsonl
#   RUN=runs/adapt METHODS="dana dana-ga nag-asgd" WORKERS="1 16" KINDS="equal unequal" SEEDS="0 1 2" UPDATES=200 \
#     scripts/adapt_grid.sh ...        OPTIONS: further options of every run, such as "--batch 2 --lr 2e-3"
# Every run has the same number of gradients, so local methods (ten steps at a worker) have a tenth of the updates.
# Run it again to go on after an interruption.
set -euo pipefail
INDEX=${1:?"usage: scripts/adapt_grid.sh INDEX VALIDATION.jsonl"} VALIDATION=${2:?"and the documents to validate on"}
RUN=${RUN:-runs/adapt} UPDATES=${UPDATES:-200} OPTIONS=${OPTIONS:-}
METHODS=${METHODS:-dana dana-slim dana-ga ga multi-asgd nag-asgd asgd sa adamw ssgd diloco async-diloco}
WORKERS=${WORKERS:-1 4 8 16 32} KINDS=${KINDS:-equal unequal} SEEDS=${SEEDS:-0 1 2}

updates_of() { # METHOD WORKERS: with the same number of gradients in all
  case $1 in
    diloco) echo $((UPDATES / 10 / $2 > 0 ? UPDATES / 10 / $2 : 1)) ;;
    async-diloco) echo $((UPDATES / 10)) ;;
    ssgd | adamw) echo $((UPDATES / $2 > 0 ? UPDATES / $2 : 1)) ;;
    *) echo "$UPDATES" ;;
  esac
}

for seed in $SEEDS; do for workers in $WORKERS; do for kind in $KINDS; do for method in $METHODS; do
  updates=$(updates_of "$method" "$workers")
  unequal=()
  if [ "$kind" = unequal ]; then unequal=(--heterogeneous); fi
  # shellcheck disable=SC2086 # OPTIONS is a list of options
  ttft adapt "$INDEX" --out "$RUN/$method-$workers-$kind-$seed" --config "configs/adapt/$method.yaml" \
    --cluster simulated --workers "$workers" "${unequal[@]}" --updates "$updates" --every $((updates < 4 ? 1 : updates / 4)) \
    --validation "$VALIDATION" --seed "$seed" $OPTIONS
done; done; done; done

ttft report "$RUN"/*/ --out "$RUN/report.html"
