"""
Fakes, an HTTP client in memory and contract suites, for the tests of kgd and of extensions.
"""
