"""
The tests of kgd, in tiers: unit, wire, kernel, daemon, clients, pace.
"""

import os

from hypothesis import settings

# A test that fails must fail again; and how long an example takes depends on the machine.
settings.register_profile("kgd", derandomize=True, deadline=None)
# The same examples again, on another Python or with other dependencies: some of them will do.
settings.register_profile("again", settings.get_profile("kgd"), max_examples=20)
settings.load_profile(os.environ.get("KGD_TEST_PROFILE", "kgd"))
