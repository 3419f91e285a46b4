"""
Running one piece of code in a kernel, for those who have nothing else to do with it.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from kgd.errors import KernelLost, ResponseTooLarge
from kgd.interfaces import IKernel
from kgd.notebook.api import Outputs
from kgd.relay.executor import Executor
from kgd.relay.pieces import Code


def run(kernel: IKernel, source: str, limit: int) -> Deferred[Outputs]:
    """
    As :py:meth:`kgd.interfaces.IGateway.run`.

    :param limit: How many bytes of output there may be.
    """
    return Deferred.fromCoroutine(_run(kernel, source, limit))


async def _run(kernel: IKernel, source: str, limit: int) -> Outputs:
    _check(kernel)
    await kernel.when_ready()
    _check(kernel)
    executor = Executor(kernel.channels, lambda: None)
    answered: Deferred[Outputs] = Deferred()

    def too_much() -> None:
        answered.errback(
            ResponseTooLarge(
                f"the code gave more than {limit} bytes of output; it has to print less, or the "
                "gateway needs a higher --max-response-size"
            )
        )

    running = executor.run([Code(source)], limit, too_much)

    def done(outputs: list[Outputs]) -> None:
        if not answered.called:
            answered.callback(outputs[0])

    running.answered.addCallback(done)
    try:
        outputs = await answered
    finally:
        executor.leave()
    if running.lost:
        raise KernelLost(f"the kernel ended before it had answered: {running.lost}")
    return outputs


def _check(kernel: IKernel) -> None:
    if kernel.stopping or kernel.execution_state == "dead":
        raise KernelLost(f"the kernel has ended{f': {kernel.reason}' if kernel.reason else ''}")
