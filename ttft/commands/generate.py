"""ttft generate: prompts -> selected texts -> fine-tuned model -> its answers, optionally next to the base model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttft.commands.console import Display, note, progress, say, show_plan
from ttft.commands.prompts import load_prompts, make_tuner
from ttft.config.generate import GenerateConfig

if TYPE_CHECKING:
    from ttft.tuner.results import Answer
    from ttft.tuner.session import Tuner


def run(config: GenerateConfig, *, dry_run: bool = False) -> None:
    """Print an answer to every prompt, in the order in which they are finished. Raises TtftError."""
    if dry_run:
        show_plan(config, [])
        return
    from ttft.vector_index.manifest import read_manifest

    read_manifest(Path(config.index))  # fails on a wrong folder before anything is loaded
    prompts = load_prompts(config)
    tuner = make_tuner(config, score_dtype=config.dtype)
    with progress() as display:
        stream = None if config.json_lines else Stream(config, tuner, len(prompts), display)
        answers = tuner.generate_many(
            prompts, compare=config.compare, stream=stream, on_progress=display, **config.decoding()
        )
        for answer in answers:
            with display.paused():
                _finish(answer, config.json_lines)


def _finish(answer: Answer, json_lines: bool) -> None:
    """Print what remains when an answer is complete."""
    if answer.failed:
        note(f"prompt {answer.prompt_id} failed and has no answer: {answer.failed}; try a smaller --lr")
    if json_lines:
        say(json.dumps(answer.to_json(), ensure_ascii=False))


class Stream:
    """Prints answers while they are generated, under headings if there are several."""

    def __init__(self, config: GenerateConfig, tuner: Tuner, prompts: int, display: Display) -> None:
        self.config, self.tuner, self.prompts, self.display = config, tuner, prompts, display

    def __call__(self, prompt_id: str, name: str) -> Any:
        from transformers import TextStreamer

        display, words = self.display, [prompt_id] * (self.prompts > 1) + [name] * self.config.compare
        display.bars.stop()  # the bars would interfere with the printed text
        if words:
            say("=== " + ": ".join(words))

        class Streamer(TextStreamer):
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                say(text, end="\n" if stream_end else "")

            def end(self) -> None:
                super().end()
                display.bars.start()

        return Streamer(
            self.tuner.tokenizer, skip_prompt=True, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
