"""qts doctor: what is missing is found, and every fault comes with its fix."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from qts import cli, doctor
from qts.pipeline.java import java_major
from qts.settings import Settings


def fake_java(folder: Path, version: str, modules: str = "jdk.incubator.vector@17") -> Path:
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\n[ \"$1\" = -version ] && echo '{version}' >&2 || echo '{modules}'\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.parametrize(
    ("shown", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("command not found", None),
    ],
)
def test_java_versions_are_read(shown, major):
    assert java_major(shown) == major


@pytest.mark.parametrize(
    ("version", "status"),
    [('openjdk version "17.0.1"', "ok"), ('java version "1.8.0_392"', "fail"), ('openjdk version "11.0.2"', "fail")],
)
def test_java_home_is_looked_at(tmp_path, monkeypatch, version, status):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk", version)))
    (check,) = doctor.java()
    assert check.status == status
    assert bool(check.fix) == (status == "fail")


def test_java_home_that_holds_no_java(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    (check,) = doctor.java()
    assert (check.status, check.fix) == ("fail", "set JAVA_HOME to a Java or unset it")


def test_java_that_is_missing_or_cut_down_or_dumb(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = doctor.java()
    assert check.found == "there is none; Spark 4.2 needs 17 or newer"
    assert "apt-get install openjdk-17-jre-headless" in check.fix
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "small", 'openjdk version "17.0.1"', "java.base@17")))
    assert [check.status for check in doctor.java()] == ["ok", "fail"]
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "dumb", "hello")))
    assert [check.status for check in doctor.java()] == ["fail"]


def test_packages_against_pins():
    (fine,) = doctor.packages(["pytest>=1", "nothing-like-this; extra == 'dev'"])
    assert fine.status == "ok"
    (bad,) = doctor.packages(["pytest<1", "nothing-like-this>=2"])
    assert bad.status == "fail"
    assert "wanted <1" in bad.found
    assert "nothing-like-this>=2 is missing" in bad.found
    (unknown,) = doctor.packages([])
    assert unknown.status == "warn"


def test_folders(tmp_path, monkeypatch):
    assert {c.name: c.status for c in doctor.folders(Settings(workdir=tmp_path / "a" / "b"))}["workdir"] == "ok"
    (tmp_path / "file").write_text("")
    checks = {c.name: c for c in doctor.folders(Settings(workdir=tmp_path / "file" / "work"))}
    assert checks["workdir"].status == "fail"
    assert "--workdir" in checks["workdir"].fix
    assert not (tmp_path / "a").exists()


def test_a_full_disk_and_a_noexec_tmp(tmp_path, monkeypatch):
    # The doctor's own names: other threads go on with the real ones.
    full = {"disk_usage": lambda _: SimpleNamespace(free=1)}
    monkeypatch.setattr(doctor, "shutil", SimpleNamespace(**vars(shutil) | full))
    noexec = {"statvfs": lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC)}
    monkeypatch.setattr(doctor, "os", SimpleNamespace(**vars(os) | noexec))
    statuses = {check.name: check.status for check in doctor.folders(Settings(workdir=tmp_path))}
    assert statuses == {"workdir": "ok", "disk": "warn", "tmp": "fail"}


def test_memory():
    assert doctor.memory("1m").status == "ok"
    assert doctor.memory("99999g").status == "warn"


def test_a_taken_port_is_told():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        number = holder.getsockname()[1]
        check = doctor.port(number, "mlflow ui")
    assert (check.status, check.fix) == ("warn", f"mlflow ui needs another one: mlflow ui --port {number + 1}")


def test_a_host_name_without_an_address(monkeypatch):
    def unknown(name):
        raise socket.gaierror

    monkeypatch.setattr(doctor, "socket", SimpleNamespace(**vars(socket) | {"gethostbyname": unknown}))
    assert "SPARK_LOCAL_IP" in doctor.loopback().fix


def test_the_command_fails_when_a_check_does(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert cli.main(["doctor", "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is False
    assert all(check["fix"] for check in shown["checks"] if check["status"] != "ok")
    assert cli.main(["doctor"]) == 2
    assert "QTS cannot run yet" in capsys.readouterr().out
