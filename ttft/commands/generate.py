"""ttft generate: prompts -> chosen texts -> fine-tuned model -> its answers, beside the base model's if asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import note, progress, say, show_plan
from ttft.commands.tuning import Tuner
from ttft.config.generate import GenerateConfig
from ttft.errors import ConfigError
from ttft.records import Prompt, Selection

if TYPE_CHECKING:
    from rich.progress import Progress

    from ttft.finetuning.engine import PromptTexts, Trace


def run(config: GenerateConfig, *, dry_run: bool = False) -> None:
    """Print an answer to every prompt, in the order in which they are ready. Raises TtftError."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft.vector_index.manifest import read_manifest

    read_manifest(Path(config.index))
    from ttft import runtime
    from ttft.commands.selecting import load_prompts

    prompts = load_prompts(config)
    runtime.quiet_libraries()
    runtime.setup(config.seed)
    device = runtime.pick_device(config.device)
    tuner = Tuner.prepare(config, device, prompts=len(prompts), score_dtype=config.dtype)
    with progress() as display:
        Answering(config, tuner, prompts, display).all()


@dataclass
class Answering:
    """One run of the command: what was chosen for the prompts that are under way, and where answers go."""

    config: GenerateConfig
    tuner: Tuner
    prompts: list[Prompt]
    display: Progress
    chosen: dict[str, Selection] = field(default_factory=dict)

    def all(self) -> None:
        """Select, train and answer each prompt in turn."""
        inputs = {prompt.id: self.encode(prompt) for prompt in self.prompts}
        task = self.display.add_task("fine-tuning", total=len(self.prompts))

        for trace in self.tuner.finetune(self.jobs()):
            if trace.failed:
                self.refuse(trace)
            else:
                self.display.stop()  # it would take what is printed for its own terminal's
                try:
                    self.answer(trace, trace.slot, inputs[trace.key])
                finally:
                    self.display.start()
            del self.chosen[trace.key]
            self.display.update(task, advance=1)

    def encode(self, prompt: Prompt) -> list[int]:
        """A prompt's tokens as in scoring, one prefix token first; the last of them where the window has no more room.

        Raises ConfigError when the answer alone would fill the window.
        """
        from ttft.evaluation import prefix_token

        tokenizer, window = self.tuner.tokenizer, self.tuner.window
        room = window - self.config.max_new_tokens
        if room < 1:
            raise ConfigError(
                f"max_new_tokens {self.config.max_new_tokens} leaves no room for a prompt in the {window} tokens that "
                f"{self.config.model} reads",
                f"ask for fewer: --max-new-tokens {window // 2}",
            )
        ids = [prefix_token(tokenizer), *tokenizer(prompt.text, add_special_tokens=False, verbose=False)["input_ids"]]
        if len(ids) > room:
            note(
                f"prompt {prompt.id} has {len(ids) - 1} tokens; the model goes on from the last {room}, which with "
                f"{self.config.max_new_tokens} new ones fill its window of {window}"
            )
        return ids[-room:]

    def jobs(self) -> Iterator[PromptTexts]:
        from ttft.finetuning.engine import PromptTexts

        for prompt in self.prompts:
            self.chosen[prompt.id] = selection = self.tuner.selector.select(prompt.id, prompt.text)
            yield PromptTexts(prompt.id, self.tuner.texts(selection))

    def answer(self, trace: Trace, slot: int, ids: list[int]) -> None:
        """Generate with the model of the slot and, to compare, with none of its update."""
        from ttft.runtime import Timer

        timer, key, made = Timer(str(self.tuner.learner.device)), trace.key, {}
        note(f"{key}: fine-tuned on {len(trace.losses)} texts in {trace.seconds['train']:.1f} s")
        for name, scale in [("base", 0.0)] * self.config.compare + [("tuned", 1.0)]:
            if not self.config.json_lines:
                self.heading(key, name)
            with timer(name), self.tuner.learner.scoring(slot, scale) as model:
                made[name] = self.generate(model, ids)
        if self.config.json_lines:
            record = {"prompt_id": key, "text": made.pop("tuned")} | made
            self.record(record, trace, timer.seconds)

    def heading(self, key: str, name: str) -> None:
        """A line above an answer where there are several; none above the only one."""
        words = [key] * (len(self.prompts) > 1) + [name] * self.config.compare
        if words:
            say("=== " + ": ".join(words))

    def generate(self, model: Any, ids: list[int]) -> str:
        """The text after `ids`, printed as it is made unless JSON is wanted. The seed is the same for every answer."""
        import torch
        from transformers import TextStreamer

        plain = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        tokenizer = self.tuner.tokenizer
        streamer = None if self.config.json_lines else TextStreamer(tokenizer, skip_prompt=True, **plain)
        torch.manual_seed(self.config.seed)
        inputs = torch.tensor([ids], device=self.tuner.learner.device)
        made = model.generate(
            inputs, attention_mask=torch.ones_like(inputs), streamer=streamer, num_beams=1, use_cache=True,
            **self.config.decoding(),
        )  # fmt: skip
        return tokenizer.decode(made[0, len(ids) :], **plain)

    def refuse(self, trace: Trace) -> None:
        """A prompt whose training failed has no answer."""
        note(f"prompt {trace.key} failed and has no answer: {trace.failed}; a smaller --lr may help")
        if self.config.json_lines:
            self.record({"prompt_id": trace.key, "text": None, "failed": trace.failed}, trace, {})

    def record(self, record: dict, trace: Trace, generating: dict[str, float]) -> None:
        selection = self.chosen[trace.key]
        seconds = selection.seconds | {"train": trace.seconds["train"]} | generating
        more = {"ids": selection.ids, "seconds": {name: round(value, 6) for name, value in seconds.items()}}
        say(json.dumps(record | more, ensure_ascii=False))
