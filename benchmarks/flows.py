"""What a flow costs beyond the command that it calls: `reproduce` with every stage up to date, against `dvc repro`.

python -m benchmarks.flows [--times 3]

Wants a workspace in which `dvc repro` has nothing to do; starts a Prefect server of its own on a free port and stops it.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

BIN = Path(sys.executable).parent
FLOW = "from pipelines.flows import reproduce; reproduce()"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    said = subprocess.run(["dvc", "repro"], env=environment, capture_output=True, text=True, check=True).stdout
    if "up to date" not in said:
        sys.exit("dvc repro had something to do; it is done now, measure again")
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        environment |= {"PREFECT_HOME": home, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(f"http://127.0.0.1:{port}/api/health")
            plain = [timed(["dvc", "repro"], environment) for _ in range(times)]
            flows = [timed([sys.executable, "-c", FLOW], environment) for _ in range(times)]
        finally:
            server.terminate()
            server.wait()
    print(f"dvc repro, nothing to do:        {statistics.median(plain):5.2f} s  ({min(plain):.2f} to {max(plain):.2f})")
    print(f"flow reproduce, nothing to do:   {statistics.median(flows):5.2f} s  ({min(flows):.2f} to {max(flows):.2f})")
    print(f"the flow's own cost:             {statistics.median(flows) - statistics.median(plain):5.2f} s")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait(url: str) -> None:
    """Return when the server answers."""
    for _ in range(600):
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"nobody answered at {url} for a minute")


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Seconds of a command from start to end."""
    started = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
