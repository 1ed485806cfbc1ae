"""Configuration of `ttft report`."""

from __future__ import annotations

from pydantic import Field

from ttft.config.base import Config


class ReportConfig(Config):
    """Which runs to report, and where to write the page."""

    runs: list[str] = Field(min_length=1)
    """Run folders of finetune-eval, or folders of jobs; the jobs of one run are joined to it. Runs of different
    models, or scored differently, get tables of their own."""

    out: str | None = None
    """The page to write (NAME.html), or a folder for report.html. Default: in the run folder if there is one run, in
    the folder that all runs share if there are several. The numbers go beside it (NAME.json)."""

    subsets: bool = True
    """Print the table per subset too (the page always has it)."""
