"""The Java that Spark will start, looked at before it does: its own word on an old one is a page of stack trace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

AT_LEAST = 17
INSTALL = (
    "install it (Debian, Ubuntu: sudo apt-get install openjdk-17-jre-headless; Fedora: sudo dnf install "
    "java-17-openjdk-headless; macOS: brew install openjdk@17; else https://adoptium.net)"
)


@dataclass(frozen=True)
class Java:
    """What is there.

    Attributes:
        binary: the program; empty when there is none.
        found: what was found, in words.
        fix: what to do about it; empty when Spark can use it.
    """

    binary: str
    found: str
    fix: str = ""


def look() -> Java:
    """The Java of JAVA_HOME, or else of the PATH, as Spark's own launcher finds it."""
    home = os.environ.get("JAVA_HOME")
    binary = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if home and not Path(home, "bin", "java").is_file():
        return Java("", f"JAVA_HOME is {home}, which has no bin/java", "set JAVA_HOME to a Java or unset it")
    if binary is None:
        return Java("", f"there is none; Spark 4.2 needs {AT_LEAST} or newer", INSTALL)
    shown = output(binary, "-version")
    major = java_major(shown)
    if major is None:
        return Java(binary, f"{binary} does not tell its version: {shown[:80]!r}", INSTALL)
    if major < AT_LEAST:
        return Java(binary, f"{binary} is Java {major}; Spark 4.2 needs {AT_LEAST} or newer", INSTALL)
    return Java(binary, f"{major} at {binary}")


def java_major(shown: str) -> int | None:
    """The major version in what `java -version` prints.

    >>> java_major('openjdk version "17.0.15" 2025-04-15'), java_major('java version "1.8.0_392"')
    (17, 8)
    """
    match = re.search(r'version "(?:1\.)?(\d+)', shown)
    return int(match[1]) if match else None


def output(*command: str) -> str:
    """What a program prints, stdout first; or why it could not be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr
