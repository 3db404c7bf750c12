"""The egg that scrapyd-deploy uploads (see docs/scale.md); all else is built from pyproject.toml."""

from runpy import run_path

from setuptools import find_packages, setup

setup(
    name="harvester",
    version=run_path("pipelines/version.py")["VERSION"],
    packages=find_packages(include=["harvester*", "pipelines*"]),
    package_data={"harvester": ["parsers/*.toml", "demo/site/*"], "pipelines": ["*.yaml"]},
    zip_safe=True,
)
