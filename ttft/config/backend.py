"""Options of the commands that can be distributed: run in this process, or on Ray workers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import Config


class BackendFields(Config):
    """Where the work runs. None of these options affects the results, so a run may be resumed on another backend."""

    backend: Literal["local", "ray"] = "local"
    """Where to run: local is this process; ray is a set of Ray workers on this machine or a cluster. A worker that dies
    is replaced."""
    workers: int | None = Field(None, ge=1, le=100_000)
    """Number of Ray workers. Default: one per GPU, or one per machine if there are no GPUs."""
    ray_address: str | None = None
    """Running Ray cluster to connect to: auto or host:port. Inputs and outputs must be on a file system that all its
    machines mount at the same path. Default: start Ray on this machine and shut it down at the end."""

    @model_validator(mode="after")
    def _workers_are_of_ray(self) -> Self:
        given = [name for name in ("workers", "ray_address") if getattr(self, name) is not None]
        if given and self.backend != "ray":
            raise ValueError(f"{' and '.join(given)} only apply to Ray; add --backend ray")
        device = getattr(self, "device", "auto")
        if self.backend == "ray" and device.startswith("cuda:"):
            raise ValueError(f"backend ray assigns each worker its own GPU; use device cuda, not {device}")
        return self


BACKEND = tuple(BackendFields.model_fields)
"""Options that do not affect results."""
