"""
``python -m kgd`` is the command ``kgd``.
"""

from kgd.cli import main

main()
