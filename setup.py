"""Packaging of trader: packages, console script, extras."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "trader" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

REQUIREMENTS = [
    "numpy>=2.2",
    "numba>=0.61",
    "multiprocess>=0.70.17",
    "sdnotify>=0.3.2",
    "tornado>=6.4",
    "pyyaml>=6.0",
    "pydantic>=2.10",
    "TA-Lib>=0.6.5",
    "pyarrow>=17",
    "ccxt>=4.5.50",
    "orjson>=3.10",
    "rich>=13",
    "prometheus_client>=0.20",
    "plotly>=6",
    "apprise>=1.8",
]
TEST = [
    "pytest>=8.3",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "pytest-random-order>=1.1",
    "pytest-cov>=5",
    "coverage>=7.10",
    "hypothesis>=6.100",
    "psutil>=6",
    "selenium>=4.25",
    "axe-core-python>=0.1",
    "schemathesis>=4.10",
    "distributed>=2024.8",
    "empyrical-reloaded>=0.5.12",
]
DEV = [
    "setuptools>=70",
    "ruff>=0.9",
    "mypy>=1.13",
    "import-linter>=2.1",
    "numpydoc>=1.8",
    "types-PyYAML",
    "uv>=0.5",
    "cosmic-ray>=8.4",
]

setup(
    name="trader",
    version=VERSION,
    description="An autonomous crypto trading service for one Linux machine",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["trader", "trader.*"]),
    package_data={"trader.dashboard": ["static/*", "templates/*"], "trader": ["py.typed", "__init__.pyi"]},
    install_requires=REQUIREMENTS,
    extras_require={"test": TEST, "dev": TEST + DEV, "dask": ["distributed>=2024.8"]},
    entry_points={"console_scripts": ["trader = trader.cli:main"]},
)
