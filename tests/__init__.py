"""
The tests of kgd, in tiers: unit, wire, kernel, daemon, clients.
"""

from hypothesis import settings

# A test that fails must fail again; and how long an example takes depends on the machine.
settings.register_profile("kgd", derandomize=True, deadline=None)
settings.load_profile("kgd")
