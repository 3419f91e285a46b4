"""
Configuration: makes one frozen ``Settings`` of the command line, variables and files.

Sources in order of precedence: command line, ``KGD_*`` and ``KG_*`` variables, files, defaults.
"""
