"""Ceph's S3 gateway, from Debian's packages, on loopback, with everything in memory and in a temporary folder."""

import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from servers import free_port, run, running, temporary_folder, wait_for

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
CONFIGURATION = """
[global]
fsid = {cluster}
mon host = v1:127.0.0.1:{port}
ms bind msgr2 = false
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}
crash dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon data = {folder}/monitor
osd data = {folder}/storage
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 0
"""


@dataclass(frozen=True)
class Gateway:
    """Where the gateway listens, and the keys of its one user."""

    url: str
    access_key: str = "people"
    secret_key: str = "not a secret"


@contextmanager
def gateway() -> Iterator[Gateway]:
    """A monitor, a storage daemon and a gateway; the test is skipped where Debian's packages are not installed."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        packages = "ceph-mon ceph-osd radosgw"
        pytest.skip(f"{', '.join(missing)} not found; `apt-get install --no-install-recommends {packages}` makes this test run")
    monitor, web = free_port(), free_port()
    cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
    with temporary_folder("ceph", "root") as folder, ExitStack() as stack:
        file = folder / "ceph.conf"
        file.write_text(CONFIGURATION.format(cluster=cluster, port=monitor, folder=folder))
        for name in ("monitor", "storage"):
            (folder / name).mkdir()
        config = ("--conf", str(file))

        def start(name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
            (folder / f"{name}-output").mkdir()
            return stack.enter_context(running([*command, *config, "-f"], folder / f"{name}-output", signal.SIGTERM))

        run(["monmaptool", "--create", "--fsid", cluster, "--addv", "a", f"[v1:127.0.0.1:{monitor}]", f"{folder}/map"], folder)
        run(["ceph-mon", *config, "--mkfs", "-i", "a", "--monmap", f"{folder}/map"], folder)
        start("monitor", ["ceph-mon", "-i", "a"])
        run(["ceph", *config, "--connect-timeout", "100", "osd", "new", disk], folder)
        run(["ceph-osd", *config, "-i", "0", "--mkfs", "--osd-uuid", disk], folder)
        start("storage", ["ceph-osd", "-i", "0"])
        server = Gateway(f"http://127.0.0.1:{web}")
        keys = ["--access-key", server.access_key, "--secret-key", server.secret_key]
        user = ["--uid", "people", "--display-name", "people", *keys]
        run(["radosgw-admin", *config, "user", "create", *user], folder)
        process = start("gateway", ["radosgw", "-n", "client.gateway", "--rgw-frontends", f"beast endpoint=127.0.0.1:{web}"])
        wait_for(process, folder / "gateway-output", lambda: listens(web))
        yield server


def listens(port: int) -> bool:
    """Whether a server accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
