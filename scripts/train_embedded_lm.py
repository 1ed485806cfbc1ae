"""Train the small language model that ships with ttft: tokenizer, model, evaluation, model card figures.

A GPT-2-architecture causal LM with a byte-level BPE tokenizer, trained on documents in the Pile's format
(one JSON object per line: {"text": ..., "meta": {"pile_set_name": ...}}). It is a demonstrator: small enough
to ship in a package and to fine-tune on two CPU cores, far too small to be useful by itself.

    python scripts/train_embedded_lm.py --train train.jsonl.zst --val val.jsonl.zst --work runs/embedded-lm

With glibc, these keep large tensors from being mapped and faulted in anew each step (7% faster where it was measured):
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456

The work folder holds the tokenizer, the token file, a resumable checkpoint and a log; running the command again goes
on where it stopped. `--export DIR` writes the model and tokenizer in Hugging Face format with bf16 weights.

Optimisation: Muon (orthogonalised momentum, torch.optim.Muon) on the matrices of the blocks, AdamW on embeddings,
biases and LayerNorms; linear warm-up, then cosine to a fiftieth; bf16 autocast where the processor has it.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import zstandard
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from ttft.evaluation import bits_per_byte

END = "<|endoftext|>"


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--train", type=Path, required=True, help="training documents, .jsonl.zst")
    p.add_argument("--val", type=Path, required=True, help="documents for the model card's figures, never trained on")
    p.add_argument("--work", type=Path, required=True, help="folder of tokenizer, tokens, checkpoint and log")
    p.add_argument("--export", type=Path, help="write model and tokenizer here when training ends")
    p.add_argument("--vocab", type=int, default=8192)
    p.add_argument("--width", type=int, default=384)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--tokens", type=int, default=24_000_000, help="tokens to see in all")
    p.add_argument("--batch", type=int, default=16, help="sequences a step")
    p.add_argument("--lr", type=float, default=3e-3, help="AdamW's peak rate")
    p.add_argument("--muon-lr", type=float, default=4e-3, help="Muon's peak rate (scaled to AdamW's update RMS)")
    p.add_argument("--warmup", type=int, default=100, help="steps of linear warm-up")
    p.add_argument("--checkpoint-every", type=int, default=100, help="steps between checkpoints")
    p.add_argument("--stop-after", type=int, help="end after this many steps (for trials); the schedule stays")
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def documents(path: Path):
    """Yield (text, subset) of a .jsonl.zst file."""
    with zstandard.open(path, "rb") as raw:
        for line in io.BufferedReader(raw):
            record = json.loads(line)
            yield record["text"], record["meta"]["pile_set_name"]


def train_tokenizer(args) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every byte string has tokens, so no text is unknown; no space is added in front."""
    folder = args.work / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=args.vocab,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator((text for text, _ in documents(args.train)), trainer)
        fast = PreTrainedTokenizerFast(
            tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END, model_max_length=args.context
        )
        fast.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def token_stream(args, tokenizer) -> np.ndarray:
    """All training documents as one row of uint16 tokens, each document preceded by the end token."""
    path = args.work / "train.npy"
    if not path.exists():
        rows = []
        for text, _ in documents(args.train):
            rows.append(np.array([tokenizer.eos_token_id, *tokenizer.encode(text)], dtype=np.uint16))
        np.save(path, np.concatenate(rows))
    return np.load(path, mmap_mode="r")


def batch_at(tokens: np.ndarray, step: int, args) -> torch.Tensor:
    """The step-th batch: windows of context+1 tokens, without repeats inside an epoch, another offset each epoch."""
    window = args.context
    per_epoch = (len(tokens) - 1) // window - 1
    rows = []
    for i in range(step * args.batch, (step + 1) * args.batch):
        epoch, place = divmod(i, per_epoch)
        rng = np.random.default_rng([args.seed, epoch])
        offset, order = int(rng.integers(window)), rng.permutation(per_epoch)
        start = offset + int(order[place]) * window
        rows.append(tokens[start : start + window + 1].astype(np.int64))
    return torch.from_numpy(np.stack(rows))


def build(args) -> GPT2LMHeadModel:
    torch.manual_seed(args.seed)
    config = GPT2Config(
        vocab_size=args.vocab, n_positions=args.context, n_embd=args.width, n_layer=args.layers, n_head=args.heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def optimisers(model, args):
    matrices = [p for n, p in model.named_parameters() if ".h." in n and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(matrices, lr=args.muon_lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return muon, adam


def rate(step: int, total: int, warmup: int) -> float:
    """Share of the peak rate: linear warm-up, cosine to 0.02."""
    if step < warmup:
        return (step + 1) / warmup
    along = (step - warmup) / max(1, total - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


def save_checkpoint(path: Path, model, opts, step: int) -> None:
    """Model, optimiser states and step in one safetensors file, put in place by a rename."""
    state = {f"model.{n}": p.detach().clone() for n, p in model.named_parameters()}
    for k, opt in enumerate(opts):
        for i, values in opt.state_dict()["state"].items():
            for name, value in values.items():
                state[f"opt{k}.{i}.{name}"] = torch.as_tensor(value).clone()
    save_file(state, path.with_suffix(".part"), metadata={"step": str(step)})
    path.with_suffix(".part").replace(path)


def load_checkpoint(path: Path, model, opts) -> int:
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        step = int(f.metadata()["step"])
    state = load_file(path)
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(state[f"model.{n}"])
    for k, opt in enumerate(opts):
        full = opt.state_dict()
        for name, value in state.items():
            if name.startswith(f"opt{k}."):
                _, i, key = name.split(".")
                full["state"].setdefault(int(i), {})[key] = value
        opt.load_state_dict(full)
    return step


@torch.compile
def _loss_and_slope(logits: torch.Tensor, targets: torch.Tensor, scale: float):
    """Summed cross entropy of some rows and its gradient by the logits, in one pass over them."""
    logits = logits.float()
    normaliser = torch.logsumexp(logits, 1, keepdim=True)
    at = torch.arange(logits.shape[1])[None, :] == targets[:, None]
    slope = (torch.exp(logits - normaliser) - at.float()) * scale
    nats = normaliser.sum() - torch.where(at, logits, 0.0).sum()
    return nats, slope.to(torch.bfloat16)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross entropy of hidden (T,d) under the tied output matrix (V,d), without ever holding T*V logits.

    The gradients are made in the forward pass, chunk by chunk: on a CPU the logits of a whole batch cost more time in
    memory traffic than in arithmetic (measured: 30% of a training step).
    """

    @staticmethod
    def forward(ctx, hidden, matrix, targets, rows=512):
        small = matrix.to(torch.bfloat16)
        total, d_hidden, d_matrix = 0.0, [], torch.zeros_like(matrix)
        for h, y in zip(hidden.to(torch.bfloat16).split(rows), targets.split(rows), strict=True):
            nats, slope = _loss_and_slope(h @ small.T, y, 1.0 / len(targets))
            total = total + nats
            d_hidden.append(slope @ small)
            d_matrix += slope.T @ h
        ctx.save_for_backward(torch.cat(d_hidden).to(hidden.dtype), d_matrix)
        return total / len(targets)

    @staticmethod
    def backward(ctx, grad):
        d_hidden, d_matrix = ctx.saved_tensors
        return d_hidden * grad, d_matrix * grad, None, None


def train(args, model, tokens) -> int:
    """Run the missing steps; return the number of tokens seen in all."""
    opts = optimisers(model, args)
    peaks = [[g["lr"] for g in opt.param_groups] for opt in opts]
    total = args.tokens // (args.batch * args.context)
    done = load_checkpoint(args.work / "checkpoint.safetensors", model, opts)
    log = open(args.work / "log.jsonl", "a")  # noqa: SIM115 - open until training ends
    started, first = time.perf_counter(), done
    forward = torch.compile(model.transformer)
    last = min(total, args.stop_after or total)
    for step in range(done, last):
        for opt, peak in zip(opts, peaks, strict=True):
            for group, lr in zip(opt.param_groups, peak, strict=True):
                group["lr"] = lr * rate(step, total, args.warmup)
        batch = batch_at(tokens, step, args)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = forward(input_ids=batch[:, :-1], use_cache=False).last_hidden_state
        loss = ChunkedCrossEntropy.apply(hidden.flatten(0, 1), model.lm_head.weight, batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        if step % 20 == 0 or step == last - 1:
            speed = (step + 1 - first) * args.batch * args.context / (time.perf_counter() - started)
            line = {"step": step, "of": total, "loss": round(loss.item(), 4), "tokens_per_s": round(speed)}
            print(json.dumps(line), file=log, flush=True)
        if (step + 1) % args.checkpoint_every == 0 or step == last - 1:
            save_checkpoint(args.work / "checkpoint.safetensors", model, opts, step + 1)
    return last * args.batch * args.context


def evaluate(model, tokenizer, path: Path) -> dict:
    """Documents, bytes and BPB per subset, as ttft scores."""
    sums: dict[str, list[float]] = {}
    for text, subset in documents(path):
        score = bits_per_byte(model, tokenizer, [text])[0]
        for name in (subset, "all"):
            row = sums.setdefault(name, [0.0, 0, 0])
            row[:] = [row[0] + score.nats, row[1] + score.bytes, row[2] + 1]
    return {s: {"bpb": n / math.log(2) / b, "bytes": b, "documents": d} for s, (n, b, d) in sorted(sums.items())}


def main() -> None:
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(args)
    tokens = token_stream(args, tokenizer)
    model = build(args)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokens):,} tokens in the training text")
    seen = train(args, model, tokens)
    if args.export:
        tokenizer.save_pretrained(args.export)
        model.to(torch.bfloat16).save_pretrained(args.export)
        model.float()  # the figures are those of the weights as shipped
        report = {"tokens_seen": seen, "val": evaluate(model, tokenizer, args.val)}
        (args.work / "val.json").write_text(json.dumps(report, indent=1))
        print(json.dumps(report["val"]["all"]))


if __name__ == "__main__":
    main()
