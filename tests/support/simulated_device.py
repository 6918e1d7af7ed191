"""Trainings and evaluations on a device that is not the CPU, simulated on the CPU.

    python simulated_device.py SYSTEM        in a run of the pipeline

trains the system for an epoch of each phase and judges its checkpoint, on the CPU and on the device, and prints the numbers of
both. On the device an operation whose tensors lie on both, or an array of NumPy made of a tensor there, is an error, as on a
GPU; what the numbers are does not depend on it. PyTorch knows of the device for as long as the process lives.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from torch import Tensor
from torch._dispatch.python import enable_python_dispatcher
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from people.training import loop
from stages import evaluate
from stages.shared.project import params
from stages.training.problem import Trainings

NAME = "simulated"
BETWEEN_DEVICES = ("aten::copy_", "aten::_to_copy")
OF_ONE_DEVICE = ("aten::cat", "aten::stack")  # other operations take a single number from the CPU, as on a GPU
ON_THE_HOST = ("aten::_local_scalar_dense", "aten::equal")


class Backend(_DummyBackendModule):
    """What PyTorch asks of a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: Any) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8)  # random numbers are the CPU's

    def set_rng_state(self, state: Tensor, device: Any) -> None:
        pass


_setup_privateuseone_for_python_backend(NAME, Backend())
DEVICE = torch.device(f"{NAME}:0")


class OnDevice(Tensor):
    """A tensor of the simulated device; its values lie in `host`."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> "OnDevice":
        made = Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype, device=DEVICE
        )
        made.host = host
        return made

    def tolist(self) -> Any:
        return self.host.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a tensor on the device is no array; copy it to the CPU first")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return called(function, args, kwargs or {})


class Simulated(TorchDispatchMode):
    """What is made on the device, or moved to it, while this is active."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return called(function, args, kwargs or {})


class MadeOfNumbers(TorchFunctionMode):
    """Tensors of numbers, which PyTorch writes into a device's memory without an operation that could be caught."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == NAME:
            del kwargs["device"]
            return function(*args, **kwargs).to(DEVICE)
        if function is Tensor.new_tensor and isinstance(args[0], OnDevice):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
        if function is Tensor.__getitem__ and isinstance(args[0], OnDevice):
            return function(args[0], tree_map(index, args[1], is_leaf=lambda value: isinstance(value, list)))
        return function(*args, **kwargs)


def index(value: Any) -> Any:
    """A list or an array by which a tensor on the device is indexed, there."""
    return torch.as_tensor(value).to(DEVICE) if isinstance(value, (list, np.ndarray)) else value


def called(function: Any, args: Any, kwargs: Any) -> Any:
    """An operation on the CPU, its result on the device if an argument is, or if it is asked for there."""
    name, device = function._schema.name, kwargs.get("device")
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = [value for value in tensors if isinstance(value, OnDevice)]
    if there and name not in BETWEEN_DEVICES:
        here = [value for value in tensors if not isinstance(value, OnDevice) and (value.dim() or name in OF_ONE_DEVICE)]
        if here:
            raise RuntimeError(f"{name}: all tensors must lie on one device, {len(here)} of {len(tensors)} lie on the CPU")
    result = function(*tree_map(on_host, args), **tree_map(on_host, kwargs))
    if name == "aten::copy_" or name in ON_THE_HOST:
        return args[0] if name == "aten::copy_" else result
    if (torch.device(device).type != NAME) if device is not None else not there:
        return result
    return return_and_correct_aliasing(function, args, kwargs, tree_map(on_device, result))


def on_host(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.host if isinstance(value, OnDevice) else value


def on_device(value: Any) -> Any:
    return OnDevice(value) if isinstance(value, Tensor) and not isinstance(value, OnDevice) else value


class Anywhere(CPUAccelerator):
    """Lightning's accelerator, which asks nothing of the device."""

    def setup_device(self, device: torch.device) -> None:
        pass


class KeepingParameters(Fabric):
    """Fabric that moves a network's parameters themselves, as onto a GPU: an optimiser keeps those that it was given."""

    def setup(self, *args: Any, **kwargs: Any) -> Any:
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return super().setup(*args, **kwargs)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)


def trained(system: str, fabric: Fabric) -> dict[str, float]:
    """The numbers of the last epoch, one of each phase."""
    changes = {"epochs": 1, "data_on_device": True, "loader_workers": 0, "precision": "32-true"}
    *_, last = loop.fit_phases(Trainings(system).phases(**changes), seed=params("seed"), fabric=fabric)
    return last.metrics


def judged(system: str, device: torch.device) -> dict[str, float]:
    """The metrics of the system's checkpoint."""
    evaluate.device = lambda: device
    return dict(evaluate.judge(system, Path("data/models", system, "checkpoint.pt"), params("seed")).metrics)


def main() -> None:
    system = sys.argv[1]
    torch.set_num_threads(1)
    numbers = {"cpu": (trained(system, Fabric(accelerator="cpu")), judged(system, torch.device("cpu")))}
    with Simulated(), MadeOfNumbers(), enable_python_dispatcher():
        fabric = KeepingParameters(strategy=SingleDeviceStrategy(device=DEVICE, accelerator=Anywhere()))
        numbers["device"] = trained(system, fabric), judged(system, DEVICE)
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
