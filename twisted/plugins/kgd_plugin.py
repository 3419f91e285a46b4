"""
Tells ``twistd`` about kgd.
"""

from twisted.application.service import ServiceMaker

kgd = ServiceMaker(  # type: ignore[no-untyped-call]
    "kgd, a kernel gateway daemon",
    "kgd.tap",
    "Jupyter kernels over HTTP and WebSocket.",
    "kgd",
)
