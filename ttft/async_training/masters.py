"""The methods by name. A new method is a class and a line here."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from ttft.async_training.baselines import AdaptiveDcAsgd, Asgd, DcAsgd, Lwp, MultiAsgd, NagAsgd, StalenessAware
from ttft.async_training.dana import DanaDc, DanaSlim, DanaZero
from ttft.async_training.delay_adaptive import DelayAdaptive
from ttft.async_training.gap_aware import DanaGapAware, GapAware
from ttft.async_training.local_sgd import AsyncDiLoCo, DiLoCo
from ttft.async_training.master import Master
from ttft.async_training.momentum import Momentum
from ttft.async_training.synchronous import Ssgd, SyncAdamW
from ttft.errors import ConfigError

MASTERS: dict[str, type[Master]] = {
    "asgd": Asgd,
    "nag-asgd": NagAsgd,
    "multi-asgd": MultiAsgd,
    "sa": StalenessAware,
    "dc-asgd": DcAsgd,
    "dc-asgd-a": AdaptiveDcAsgd,
    "lwp": Lwp,
    "dana": DanaZero,
    "dana-slim": DanaSlim,
    "dana-dc": DanaDc,
    "ga": GapAware,
    "dana-ga": DanaGapAware,
    "delay-adaptive": DelayAdaptive,
    "ssgd": Ssgd,
    "adamw": SyncAdamW,
    "diloco": DiLoCo,
    "async-diloco": AsyncDiLoCo,
}


def make_master(name: str, start: Tensor, **options: Any) -> Master:
    """A master by its name, with the options of its class. Raises ConfigError for an unknown name, an option that the
    method does not have, or one that is missing."""
    if name not in MASTERS:
        raise ConfigError(f"unknown method {name!r}", "methods: " + ", ".join(MASTERS))
    kind = MASTERS[name]
    known = options_of(kind)
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"{name} has no option {unknown[0]!r}", f"options of {name}: " + ", ".join(known))
    missing = [option for option, needed in known.items() if needed and option not in options]
    if missing:
        raise ConfigError(f"{name} needs {' and '.join(missing)}", f"options of {name}: " + ", ".join(known))
    return kind(start, **options)


def options_of(kind: type[Master]) -> dict[str, bool]:
    """Option -> whether it must be given, of a master's class. What a class hands on as **options is Momentum's."""
    parameters = dict(inspect.signature(kind).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        fixed = {"correction"} | ({"momentum"} if kind is Asgd else set())
        handed_on = {k: p for k, p in inspect.signature(Momentum).parameters.items() if k not in fixed}
        parameters = {k: p for k, p in {**handed_on, **parameters}.items() if p.kind is not p.VAR_KEYWORD}
    return {name: p.default is p.empty for name, p in parameters.items() if name != "start"}
