"""Kept for tools that expect it; all metadata is in pyproject.toml."""

from setuptools import setup

setup()
