"""
``python -m kgd`` is the command ``kgd``.
"""

from kgd.cli.main import main

main()
