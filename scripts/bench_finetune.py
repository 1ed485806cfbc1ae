"""Time fine-tuning, side by side in one run: our engine against loops of one prompt, one text, one step at a time.

    python scripts/bench_finetune.py                            the embedded model, 64 prompts of 20 texts
    python scripts/bench_finetune.py --shape gpt2 --prompts 8 --steps 4 --rivals c --slots 4
    python scripts/bench_finetune.py --slots 1,4,8,16           ours with other numbers of prompts side by side

a  as HullFT's code: full fine-tuning, torch.optim.Adam, every text padded to 1,024 tokens, float32. The embedded model
   reads 512; for this loop its table of positions is made longer, which costs nothing
b  PEFT: LoRA of rank 16 on attention and MLP, torch.optim.Adam, batch 1, no padding, float32
c  as b under bf16 autocast
ours, as b   the engine, with b's adapter
ours         with the adapter that is the embedded model's default, which also has the vocabulary side, and rank 32

Every time is wall time per text (one step of one prompt), tokenising and resets included, scoring not; the median over
--rounds rounds, in which all contenders run in turn in one process. The loops take --rival-prompts of the prompts: they
take one after the other, so that the time per text does not depend on how many there are. All keep freed memory
(`runtime.keep_freed_memory`); --as-it-comes leaves glibc as it is, for all. Read the ratios: the times are this
machine's.

Utilisation: floating-point operations that the model's weights need (2 per weight and token forward, 2 for the gradient
towards the inputs, and in full fine-tuning 2 for that towards the weights; attention, adapters and padding not counted)
per second, over the fastest of some large matrix products of the same dtype, measured here.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ttft import runtime
from ttft.finetuning.engine import PromptTexts, finetune_prompts
from ttft.finetuning.lora import LoraLearner, projections
from ttft.finetuning.model import load_causal_lm

LONGEST, PADDED = 256, 1024


def make_texts(tokenizer: Any, prompts: int, steps: int) -> list[list[str]]:
    """Standard library source, cut to 64 to 256 tokens."""
    folder, rng = Path(sysconfig.get_paths()["stdlib"]), random.Random(0)
    files = sorted(path for path in folder.glob("*.py") if path.stat().st_size > 4000)
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)[:4_000_000]
    ids, cut, at = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], [], 0
    while len(cut) < prompts * steps:
        length = rng.randint(64, LONGEST - 8)  # cutting may split a character, and spelling it again needs more tokens
        cut.append(tokenizer.decode(ids[at : at + length]))
        at = (at + length) % (len(ids) - LONGEST)
    return [cut[i * steps : (i + 1) * steps] for i in range(prompts)]


def encode(tokenizer: Any, text: str) -> torch.Tensor:
    return torch.tensor([[0, *tokenizer(text, add_special_tokens=False)["input_ids"]]])[:, : LONGEST + 1]


def hullft_loop(model: Any, tokenizer: Any, prompts: list[list[str]]) -> None:
    parameters = list(model.parameters())
    start = [p.detach().clone() for p in parameters]
    for texts in prompts:
        optimiser = torch.optim.Adam(parameters, lr=5e-5, eps=1e-8)
        for text in texts:
            ids = encode(tokenizer, text)
            padding = PADDED - ids.shape[1]
            mask = torch.nn.functional.pad(torch.ones_like(ids), (0, padding))
            labels = torch.nn.functional.pad(ids, (0, padding), value=-100)
            inputs = torch.nn.functional.pad(ids, (0, padding))
            model(input_ids=inputs, attention_mask=mask, labels=labels).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)


def peft_loop(model: Any, tokenizer: Any, prompts: list[list[str]], dtype: torch.dtype) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in parameters]
    for texts in prompts:
        optimiser = torch.optim.Adam(parameters, lr=5e-4)
        for text in texts:
            ids = encode(tokenizer, text)
            with runtime.autocast("cpu", dtype):
                loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)


def engine(learner: LoraLearner, tokenizer: Any, prompts: list[list[str]]) -> None:
    jobs = (PromptTexts(str(i), texts) for i, texts in enumerate(prompts))
    for _ in finetune_prompts(learner, tokenizer, jobs, max_length=LONGEST, prefix_token=0):
        pass


def contenders(
    args: argparse.Namespace, model: Any, tokenizer: Any, texts: list
) -> Iterator[tuple[str, Callable, int]]:
    """(name, run, prompts it takes)."""
    import peft

    few = texts[: args.rival_prompts]
    if "a" in args.rivals:
        long = copy.deepcopy(model)
        long.requires_grad_(True).train()
        if long.config.n_positions < PADDED:
            table, long.config.n_positions = torch.nn.Embedding(PADDED, long.config.n_embd), PADDED
            table.weight.data[: long.transformer.wpe.num_embeddings] = long.transformer.wpe.weight.data
            long.transformer.wpe = table
        yield "a HullFT-style", lambda: hullft_loop(long, tokenizer, few), len(few)
    names = sorted({name for _, _, name, _ in projections(model)})
    lora = peft.LoraConfig(r=16, lora_alpha=16, target_modules=names, fan_in_fan_out=True, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(copy.deepcopy(model), lora).eval()
    if "b" in args.rivals:
        yield "b PEFT fp32", lambda: peft_loop(adapted, tokenizer, few, torch.float32), len(few)
    if "c" in args.rivals:
        yield "c PEFT bf16", lambda: peft_loop(adapted, tokenizer, few, torch.bfloat16), len(few)
    adapters: dict[str, dict] = {"ours, as b": {"rank": 16, "lr": 5e-4}}
    if args.shape == "embedded":
        adapters["ours"] = {"rank": 32, "vocabulary": "lora", "lr": 2.5e-3}
    for name, options in adapters.items():
        for slots in args.slots:
            half = copy.deepcopy(model).to(torch.bfloat16)
            learner = LoraLearner(half, slots=slots, **options)
            yield f"{name}, {slots} slots", lambda x=learner: engine(x, tokenizer, texts), len(texts)  # type: ignore[misc]


def peak(dtype: torch.dtype) -> float:
    """Floating-point operations per second of the fastest of some matrix products."""
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (4096, 1024, 4096), (4096, 384, 1536), (4096, 768, 3072)):
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        times = []
        for _ in range(7):
            started = time.perf_counter()
            torch.nn.functional.linear(a, b)
            times.append(time.perf_counter() - started)
        best = max(best, 2 * rows * inner * columns / float(np.median(times)))
    return best


def load(shape: str) -> tuple[Any, Any]:
    model, tokenizer = load_causal_lm()
    if shape == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config()).eval()  # 124 M random weights; the small tokenizer's ids will do
    return model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["embedded", "gpt2"], default="embedded")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rival-prompts", type=int, default=2)
    parser.add_argument("--rivals", default="abc")
    parser.add_argument("--slots", type=lambda x: [int(y) for y in x.split(",")], default=[8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-it-comes", action="store_true", help="leave glibc's allocator as it is, for all")
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    args = parser.parse_args()
    runtime.quiet_libraries()
    runtime.setup(0)
    if not args.as_it_comes:
        runtime.keep_freed_memory()
    model, tokenizer = load(args.shape)
    texts = make_texts(tokenizer, args.prompts, args.steps)
    runs = list(contenders(args, model, tokenizer, texts))
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in runs}
    for round_ in range(args.rounds):
        for name, run, count in runs:
            started = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - started) / (count * args.steps))
            print(f"round {round_ + 1}: {name}: {seconds[name][-1] * 1e3:.1f} ms a text", flush=True)
    tokens = float(np.mean([encode(tokenizer, text).shape[1] - 1 for prompt in texts for text in prompt]))
    weights = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    print(f"\n{args.shape}: {tokens:.0f} tokens a text; {runtime.processor_name()}, {torch.get_num_threads()} threads; "
          f"matrix products {peaks['fp32'] / 1e9:.0f} (fp32), {peaks['bf16'] / 1e9:.0f} (bf16) GFLOP/s")  # fmt: skip
    medians, table = {name: float(np.median(x)) for name, x in seconds.items()}, []
    for name, value in medians.items():
        kind, passes = "fp32" if name[0] in "ab" else "bf16", 6 if name[0] == "a" else 4
        used = passes * weights * tokens / value / peaks[kind]
        row = {"what": name, "ms a text": value * 1e3, "utilisation %": 100 * used}
        row |= {f"times {rival[0]}": medians[rival] / value for rival in medians if rival[0] in "abc"}
        table.append(row)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{v:26}" for k, v in row.items()))
    if args.json:
        args.json.write_text(json.dumps({"table": table, "seconds": seconds}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
