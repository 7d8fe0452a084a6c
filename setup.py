"""Packaging entry point; all metadata is in pyproject.toml.

Beam's ``--setup_file`` option takes this file where a pipeline is launched on
Dataflow without a container image of its own.
"""

from setuptools import setup

setup()
