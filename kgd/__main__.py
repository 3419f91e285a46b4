"""
Runs the command ``kgd`` for ``python -m kgd``.
"""

from kgd.cli.main import main

main()
