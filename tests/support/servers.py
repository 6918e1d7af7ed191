"""Temporary servers for tests, on loopback: Debian's PostgreSQL and OpenSSH."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

PASSWORD = "p@ss/w%rd"  # an address must escape it
READY_WITHIN_S = 300.0  # for a busy machine


@dataclass(frozen=True)
class Sshd:
    """Address of an SSH server that accepts this key alone."""

    host: str
    port: int
    user: str
    keyfile: Path
    command: tuple[str, ...]  # starts it, also again


def free_port() -> int:
    """A port of 127.0.0.1 that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def postgres() -> Iterator[str]:
    """A new PostgreSQL cluster, without databases of the project: `postgresql://user:password@127.0.0.1:port/people`."""
    programs = postgres_programs()
    owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # PostgreSQL refuses to run as root
    become = ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--init-groups"] if os.geteuid() == 0 else []
    port = free_port()
    with temporary_folder("postgres", owner) as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, owner)
        initdb = [str(programs / "initdb"), "--pgdata", str(folder / "data"), "--username", "people", "--auth", "scram-sha-256"]
        run([*become, *initdb, "--pwfile", str(secret), "--encoding", "UTF8", "--no-sync"], folder)
        listen = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        command = [*become, str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), *listen]
        address = f"postgresql://people:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/people"
        with running(command, folder, signal.SIGINT) as process:  # SIGINT: connections are closed, not waited for
            wait_for(process, folder, lambda: answers_postgres(address))
            yield address


@contextmanager
def sshd() -> Iterator[Sshd]:
    """An OpenSSH server with a host key and a client key of its own, for the user who runs the tests; SFTP is built in."""
    program = sshd_program()
    user, port = pwd.getpwuid(os.geteuid()).pw_name, free_port()
    with temporary_folder("sshd", user) as folder:
        for name in ("host", "client"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], folder)
        shutil.copy2(folder / "client.pub", folder / "authorized_keys")
        config = folder / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\nAllowUsers {user}\nPermitRootLogin prohibit-password\n"
            "PubkeyAuthentication yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "StrictModes no\nMaxStartups 100:30:200\nMaxSessions 100\nSubsystem sftp internal-sftp\n"
        )
        command = (str(program), "-D", "-e", "-f", str(config))
        with running(command, folder, signal.SIGTERM) as process:
            wait_for(process, folder, lambda: answers_ssh(port))
            yield Sshd("127.0.0.1", port, user, folder / "client", command)


def postgres_programs() -> Path:
    """The folder of Debian's newest PostgreSQL, installed first in a container run as root."""

    def newest() -> Path | None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        return programs[-1].parent if programs else None

    return newest() or install("postgresql", newest)


def sshd_program() -> Path:
    """OpenSSH's server, installed first in a container run as root; it wants /run/sshd to exist if root runs it."""

    def existing() -> Path | None:
        return Path("/usr/sbin/sshd") if Path("/usr/sbin/sshd").exists() else None

    program = existing() or install("openssh-server", existing)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return program


def install(package: str, find: Callable[[], Path | None]) -> Path:
    """Install a Debian package and give its program; the test is skipped, with the reason, where that is not possible.

    Only in a container run as root: on a machine with systemd the package would start a service that stays.
    """
    advice = f"`apt-get install {package}` makes this test run"
    if os.geteuid() != 0 or shutil.which("apt-get") is None or Path("/run/systemd/system").exists():
        pytest.skip(f"{package} is not installed; {advice}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # 1: no service is started
    for command in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, timeout=400)
        if done.returncode:
            pytest.skip(f"{package} is not installed, and apt-get {command[0]} failed: {done.stderr.strip()[-300:]}; {advice}")
    program = find()
    assert program is not None, f"{package} was installed and its program is not where Debian puts it"
    return program


@contextmanager
def temporary_folder(name: str, owner: str) -> Iterator[Path]:
    """A folder of this user's, with a path short enough for a socket, which other users may pass through."""
    with tempfile.TemporaryDirectory(prefix=f"people-{name}-", dir="/tmp") as path:
        folder = Path(path)
        shutil.chown(folder, owner)
        folder.chmod(0o755)
        yield folder


@contextmanager
def running(command: Sequence[str], folder: Path, ending: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes to folder/output, ended with this signal after the block."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        yield process
    finally:
        process.send_signal(ending)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], folder: Path, ready: Callable[[], bool]) -> None:
    """Return when the server is ready; fail with its output if it ends or takes too long."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{process.args} is not ready:\n{(folder / 'output').read_text()[-3000:]}")
        time.sleep(0.1)


def answers_postgres(address: str) -> bool:
    """Whether PostgreSQL accepts a connection."""
    try:
        psycopg2.connect(f"{address.rpartition('/')[0]}/postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def answers_ssh(port: int) -> bool:
    """Whether an SSH server answers on this port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def run(command: Sequence[str], folder: Path) -> None:
    """Run a command to its end; a failure shows everything that it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
