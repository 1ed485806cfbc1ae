"""Options of the commands that many machines can share: what does the work, this process or workers of Ray."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ttft.config.base import Config


class BackendFields(Config):
    """Who does the work. Nothing of it changes what comes out, so that another backend may go on with it."""

    backend: Literal["local", "ray"] = "local"
    """local: this process. ray: workers of Ray, on this machine or a cluster; a worker that dies is replaced."""
    workers: int | None = Field(None, ge=1)
    """With ray, how many processes share the work; default: one a GPU, or where there is none one a machine."""
    ray_address: str | None = None
    """With ray, a cluster that runs: auto, or host:port. What is read and written must lie on a file system that all
    its machines share, under the same path. Default: a Ray of its own on this machine, ended with the command."""

    @model_validator(mode="after")
    def _workers_are_of_ray(self) -> Self:
        given = [name for name in ("workers", "ray_address") if getattr(self, name) is not None]
        if given and self.backend != "ray":
            raise ValueError(f"{' and '.join(given)} belong to Ray; add --backend ray")
        device = getattr(self, "device", "auto")
        if self.backend == "ray" and device.startswith("cuda:"):
            raise ValueError(f"backend ray gives each worker a GPU of its own; write device cuda, not {device}")
        return self


BACKEND = tuple(BackendFields.model_fields)
"""The options that say nothing of what comes out."""
