"""
Configuration: from the command line, variables and files to one frozen ``Settings``.

Sources in order of precedence: command line, ``KGD_*`` and ``KG_*`` variables, files, defaults.
"""
