#!/usr/bin/env bash
# Makes .venv and checks what QTS cannot bring itself: Java 17+ and the Delta jars. Safe to run again at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 2
}

# As root on Debian or Ubuntu: installs packages. Elsewhere: fails, and the caller says what to do.
apt_install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
    say "Installing $* with apt-get ..."
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

find_uv() {
    if command -v uv >/dev/null; then
        command -v uv
    elif [ -x .tools/bin/uv ]; then
        echo .tools/bin/uv
    else
        return 1
    fi
}

# uv goes into a virtual environment of its own: Debian's pip refuses to install outside one.
install_uv() {
    local python
    python=$(command -v python3) || { apt_install python3 python3-venv && python=$(command -v python3); } ||
        die "Python is missing. Install Python 3.11 with its venv module, then run this again."
    say "Installing uv into .tools ..."
    rm -rf .tools
    "$python" -m venv .tools >/dev/null 2>&1 ||
        { rm -rf .tools && apt_install python3-venv && "$python" -m venv .tools; } ||
        die "python3 has no venv module. Install it (Debian, Ubuntu: sudo apt-get install python3-venv) or install uv" \
            "(https://docs.astral.sh/uv), then run this again."
    .tools/bin/python -m pip install --quiet uv
}

java_major() {
    local java=java
    [ -n "${JAVA_HOME:-}" ] && java="$JAVA_HOME/bin/java"
    "$java" -version 2>&1 | sed -nE 's/.* version "(1\.)?([0-9]+).*/\2/p' | head -n 1
}

java_is_fine() {
    local major
    major=$(java_major) || return 1
    [ -n "$major" ] && [ "$major" -ge 17 ]
}

check_java() {
    java_is_fine && return
    [ -n "${JAVA_HOME:-}" ] &&
        die "JAVA_HOME is $JAVA_HOME, which holds no Java 17 or newer. Set it to one that is, or unset it."
    apt_install openjdk-17-jre-headless || apt_install openjdk-21-jre-headless || true
    java_is_fine || die "Java 17 or newer is missing; Spark 4.2 needs it. Install it, then run this again:
  Debian, Ubuntu:  sudo apt-get install openjdk-17-jre-headless
  Fedora:          sudo dnf install java-17-openjdk-headless
  macOS:           brew install openjdk@17
  anything else:   https://adoptium.net, then set JAVA_HOME"
}

check_java
uv=$(find_uv) || { install_uv && uv=$(find_uv); }
[ -x .venv/bin/python ] || "$uv" venv --quiet --python 3.11 .venv
"$uv" pip install --quiet --python .venv/bin/python --editable '.[dev,kafka]'
.venv/bin/qts doctor --resolve
