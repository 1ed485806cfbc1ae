"""Options of `ttft report`."""

from __future__ import annotations

from pydantic import Field

from ttft.config.base import Config


class ReportConfig(Config):
    """The runs to compare, and where to write the page."""

    runs: list[str] = Field(min_length=1)
    """Run folders of `ttft finetune-eval`, or folders that contain the jobs of a run, which are joined. Runs with
    different models or scoring go into separate tables."""

    out: str | None = None
    """HTML page to write, or a folder for report.html. The numbers are written next to it as JSON. Default: the run
    folder, or the parent folder common to several runs."""

    subsets: bool = True
    """Also print the table per subset (the page always includes it)."""

    verify: bool = False
    """Instead of reporting, read every file of the runs and say what is damaged."""
