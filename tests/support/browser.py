"""Debian's Chromium without a window; what its pages ask for, and what its console says, is recorded."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from selenium import webdriver
from servers import install

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--window-size=1280,900",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # /dev/shm of a container is small
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what is asked of another machine is recorded and goes nowhere
)
ENDS_WITHIN_S = 20.0


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser with a new profile; it and every process that it started have ended after the block."""
    programs()
    with tempfile.TemporaryDirectory(prefix="people-chromium-") as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={folder}/profile", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        service = webdriver.ChromeService(str(CHROMEDRIVER), env={**os.environ, "HOME": folder})  # named: nothing is fetched
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            started = psutil.Process(service.process.pid).children(recursive=True) if service.is_connectable() else []
            try:
                driver.quit()
            finally:
                _, left = psutil.wait_procs(started, timeout=ENDS_WITHIN_S)
                for process in left:
                    process.kill()
                psutil.wait_procs(left, timeout=ENDS_WITHIN_S)


def programs() -> Path:
    """ChromeDriver, with which Debian installs the Chromium of the same version; installed first in a container run as root."""

    def existing() -> Path | None:
        return CHROMEDRIVER if CHROMEDRIVER.exists() and CHROMIUM.exists() else None

    return existing() or install("chromium-driver", existing)


def requested(driver: webdriver.Chrome) -> list[str]:
    """The address of everything that pages asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    sockets = ("Network.webSocketCreated", "Network.webTransportCreated")
    return requests + [each["params"]["url"] for each in messages if each["method"] in sockets]


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the console says since the last call: errors of scripts, what could not be loaded, warnings."""
    return [f"{entry['level']}: {entry['message']}" for entry in driver.get_log("browser")]
