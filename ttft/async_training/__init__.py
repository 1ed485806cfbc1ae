"""Asynchronous training: masters that cope with stale gradients, a simulator of clusters, and the loop that joins them.

master.py     what all methods share              masters.py   the methods by name
simulator.py  real gradients, simulated time      trainer.py   the loop, with checkpoints
"""

from ttft.async_training.delay_adaptive import Ball, Box
from ttft.async_training.local_sgd import Inner
from ttft.async_training.master import Gradient, Master
from ttft.async_training.masters import MASTERS, make_master
from ttft.async_training.modules import ModuleGradient
from ttft.async_training.schedule import Schedule
from ttft.async_training.simulator import Join, Leave, Simulated, Stall
from ttft.async_training.trainer import Arrival, AsyncTrainer

__all__ = [
    "MASTERS",
    "Arrival",
    "AsyncTrainer",
    "Ball",
    "Box",
    "Gradient",
    "Inner",
    "Join",
    "Leave",
    "Master",
    "ModuleGradient",
    "Schedule",
    "Simulated",
    "Stall",
    "make_master",
]
