"""
From a command line, variables and files to the settings: command line > ``KGD_*`` and ``KG_*`` >
files > defaults.
"""
