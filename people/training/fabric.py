"""Lightning Fabric: the devices and the precision in which a training runs.

`lightning_fabric` is imported when a training starts: that takes more than a second, and who only reads a configuration does
not need it.
"""

from typing import TYPE_CHECKING, Any

from people.training.train_config import Config, resolve_precision, uses_cuda

if TYPE_CHECKING:
    from lightning_fabric import Fabric
else:
    Fabric = Any


def launch(config: Config, *, in_phases: bool = False) -> Fabric:
    """Fabric on the devices of the configuration; over several, each process gets here (gloo on CPUs, NCCL on GPUs).

    `in_phases`: the network has heads of tasks that are not trained in every phase, whose gradients are not waited for.
    """
    import lightning_fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    strategy: Any = "auto"
    if config.devices not in (1, "auto"):
        backend = "nccl" if uses_cuda(config) else "gloo"
        strategy = DDPStrategy(process_group_backend=backend, find_unused_parameters=in_phases)
    precision: Any = resolve_precision(config)
    fabric = lightning_fabric.Fabric(
        accelerator=config.accelerator, devices=config.devices, strategy=strategy, precision=precision
    )
    fabric.launch()
    return fabric
