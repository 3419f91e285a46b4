"""
What kgd is made of. ``pyproject.toml`` holds the build system and the settings of the tools.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "kgd" / "__init__.py").read_text())[1]

setup(
    name="kgd",
    version=VERSION,
    description="A kernel gateway daemon: Jupyter kernels over HTTP and WebSocket",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    author="The kgd authors",
    python_requires=">=3.11",
    # With this an editable install is a plain .pth file; any other would hide twisted/plugins.
    package_dir={"": "."},
    packages=[*find_packages(include=["kgd", "kgd.*"]), "twisted.plugins"],
    package_data={"kgd": ["py.typed"], "kgd.personalities.notebook_http.docs": ["static/*"]},
    entry_points={
        "console_scripts": [
            "kgd = kgd.cli.main:main",
            "jupyter-kgd = kgd.cli.main:jupyter_main",
        ]
    },
    # docs/dependencies.md has the reason for each.
    install_requires=[
        "attrs>=23.1",
        "autobahn>=26.6.1",
        "automat>=24.8",
        "cryptography>=45.0.7",
        "jupyter_client>=8.8",
        "jupyter_core>=5.7",
        "klein>=24.8",
        "msgspec>=0.18.6",
        "prometheus_client>=0.20",
        "pyopenssl>=25.2",
        "pyzmq>=26",
        "traitlets>=5.9",
        "twisted[tls]>=26.4",
        "txzmq>=1.0",
        "werkzeug>=3.0.6",
        "zope.interface>=6.4",
    ],
    extras_require={
        "ipykernel": ["ipykernel>=6.29"],
        "client": ["httpx>=0.27", "rich>=13.7", "treq>=25.5"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Jupyter",
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Typing :: Typed",
    ],
)
