"""
The commands ``kgd`` and ``jupyter-kgd``.
"""
