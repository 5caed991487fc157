"""Asking the process that holds a volume."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from blockdev import host
from blockdev.folder_lock import FolderLock, is_held
from blockdev.host import (
    HostRefusedError,
    HostTimeoutError,
    NobodyHoldsError,
    VolumeHost,
    ask,
)
from blockdev.model import ServiceError

WAIT_S = 20.0


def echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"said": arguments["word"]}


def refuse(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ServiceError("IncorrectState", "not now")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A path longer than a socket's may be."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    return deep


@pytest.fixture
def held(folder: Path) -> Iterator[Path]:
    lock = FolderLock.acquire(folder)
    handlers = {"echo": echo, "refuse": refuse, "divide": lambda a: {"result": 1 / a["by"]}}
    with closing(VolumeHost(folder, handlers)) as answering:
        answering.start()
        yield folder
    lock.release()


def test_a_question_gets_its_answer(held: Path) -> None:
    assert ask(held, "echo", {"word": "höher"}, WAIT_S) == {"said": "höher"}


def test_a_refusal_keeps_its_code_and_its_words(held: Path) -> None:
    with pytest.raises(HostRefusedError, match=r"^not now$") as refused:
        ask(held, "refuse", {}, WAIT_S)
    assert refused.value.code == "IncorrectState"
    with pytest.raises(HostRefusedError) as refused:
        ask(held, "divide", {"by": 0}, WAIT_S)
    assert refused.value.code == "ZeroDivisionError"
    with pytest.raises(HostRefusedError) as refused:
        ask(held, "sing", {}, WAIT_S)
    assert refused.value.code == "BadRequest"


def test_nobody_holds_a_folder_that_is_not_locked(folder: Path) -> None:
    with pytest.raises(NobodyHoldsError):
        ask(folder, "echo", {"word": "x"}, WAIT_S)
    assert not is_held(folder)


def test_a_socket_of_a_killed_process_is_nobody(folder: Path) -> None:
    """It is there, refuses connections, and does not keep the next host from listening."""
    stale = socket.socket(socket.AF_UNIX)
    with host._short_path(folder) as path:
        stale.bind(path)
    stale.close()
    with pytest.raises(NobodyHoldsError):
        ask(folder, "echo", {"word": "x"}, WAIT_S)
    lock = FolderLock.acquire(folder)
    with closing(VolumeHost(folder, {"echo": echo})) as answering:
        answering.start()
        assert ask(folder, "echo", {"word": "x"}, WAIT_S) == {"said": "x"}
    lock.release()


def test_a_holder_that_does_not_listen_is_waited_for(folder: Path) -> None:
    lock = FolderLock.acquire(folder)
    with pytest.raises(HostTimeoutError, match="does not listen"):
        ask(folder, "echo", {"word": "x"}, 0.1)
    answers: list[Mapping[str, Any]] = []
    asking = threading.Thread(
        target=lambda: answers.append(ask(folder, "echo", {"word": "late"}, WAIT_S))
    )
    asking.start()
    with closing(VolumeHost(folder, {"echo": echo})) as answering:
        answering.start()
        asking.join()
    assert answers == [{"said": "late"}]
    lock.release()


def test_a_host_that_hangs_costs_the_asker_his_timeout(folder: Path) -> None:
    lock = FolderLock.acquire(folder)
    release = threading.Event()

    def hang(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        release.wait(WAIT_S)
        return {}

    answering = VolumeHost(folder, {"hang": hang, "echo": echo})
    answering.start()
    try:
        with pytest.raises(HostTimeoutError):
            ask(folder, "hang", {}, 0.1)
        assert ask(folder, "echo", {"word": "x"}, WAIT_S) == {"said": "x"}
    finally:
        release.set()
        answering.close()
        lock.release()


@pytest.mark.parametrize("sent", [b"", b"{", b"\n", b"[]\n", b'{"verb": "echo"}\n', b"\xff\xfe\n"])
def test_what_is_no_request_harms_nobody(held: Path, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.settimeout(WAIT_S)
        with host._short_path(held) as path:
            rude.connect(path)
        rude.sendall(sent)
        rude.shutdown(socket.SHUT_WR)
        answer = rude.recv(1000)
    assert answer == b"" or b"BadRequest" in answer
    assert ask(held, "echo", {"word": "x"}, WAIT_S) == {"said": "x"}


def test_a_line_without_end_is_cut_off(held: Path) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.settimeout(WAIT_S)
        with host._short_path(held) as path:
            rude.connect(path)
        try:
            for _ in range(100):
                rude.sendall(b"x" * 65536)
            answer = rude.recv(1000)
        except OSError:
            answer = b""
    assert answer == b""
    assert ask(held, "echo", {"word": "x"}, WAIT_S) == {"said": "x"}


def test_many_ask_at_once(held: Path) -> None:
    answers: list[Mapping[str, Any]] = []

    def work(number: int) -> None:
        answers.extend(ask(held, "echo", {"word": f"{number}-{turn}"}, WAIT_S) for turn in range(5))

    askers = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    expected = sorted(f"{number}-{turn}" for number in range(20) for turn in range(5))
    assert sorted(answer["said"] for answer in answers) == expected


def test_closing_removes_the_socket_and_waits_for_nobody_new(folder: Path) -> None:
    lock = FolderLock.acquire(folder)
    answering = VolumeHost(folder, {"echo": echo})
    answering.start()
    answering.close()
    answering.close()
    assert os.listdir(folder) == ["lock"]
    with pytest.raises(HostTimeoutError):
        ask(folder, "echo", {"word": "x"}, 0.1)
    lock.release()


def test_the_lock_goes_with_its_process(folder: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from blockdev.folder_lock import FolderLock\n"
        "lock = FolderLock.acquire(Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_held(folder)
        holder.kill()
        holder.wait(WAIT_S)
    assert not is_held(folder)
