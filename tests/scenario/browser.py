"""browser.py -- a headless Chromium, led by its DevTools protocol over a pair of pipes.
No driver and no library: JSON documents, each ended by a NUL, on the browser's descriptors 3 and 4.

    browser = Browser()
    page = browser.page()
    page.open("http://127.0.0.1:9899/")
    page.evaluate("document.title")
    browser.close()
"""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time

import harness

MISSING = "Chromium is not installed: apt-get install chromium (./run.sh test does)"
SWITCHES = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-default-apps", "--disable-extensions", "--mute-audio", "--hide-scrollbars", "--no-zygote",
            "--disable-features=Translate,OptimizationHints,MediaRouter"]


class Browser:
    def __init__(self):
        program = next(filter(os.path.exists, ("/usr/lib/chromium/chromium", "/usr/bin/chromium")), None)
        if program is None:
            raise AssertionError(MISSING)
        self.home = harness.scratch("chromium-")
        self.number, self.events, self.rest = 0, [], b""
        theirs_in, self.to = os.pipe()
        self.says, theirs_out = os.pipe()
        self.log = open(os.path.join(self.home, "log"), "w+", encoding="utf-8", errors="replace")
        self._guard = harness.when_we_are_gone("rm", "-rf", self.home)
        # A shell puts the pipes in their places: descriptors of the parent that happen to be 3 or 4 stay out of it.
        command = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        words = [program, *SWITCHES, f"--user-data-dir={self.home}/profile", "about:blank"]
        self.process = harness.spawn(["bash", "-c", command, "chromium", *words], stdin=subprocess.DEVNULL, stdout=self.log,
                                     stderr=self.log, pass_fds=(theirs_in, theirs_out),
                                     env={**os.environ, "HOME": self.home, "TMPDIR": self.home})
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            self.version = self.ask("Browser.getVersion", within=30)["product"]
        except BaseException:
            self.close()
            raise

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def send(self, method, session=None, **parameters):
        self.number += 1
        document = {"id": self.number, "method": method, "params": parameters}
        if session:
            document["sessionId"] = session
        os.write(self.to, json.dumps(document).encode() + b"\0")
        return self.number

    def hear(self, deadline):
        """The next document, or None when it is too late."""
        while b"\0" not in self.rest:
            if not select.select([self.says], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            data = os.read(self.says, 1 << 20)
            if not data:
                raise ConnectionError(f"Chromium has ended:\n{self.said()}")
            self.rest += data
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)

    def ask(self, method, session=None, within=15, **parameters):
        number = self.send(method, session, **parameters)
        deadline = time.monotonic() + within
        while (heard := self.hear(deadline)) is not None:
            if heard.get("id") != number:
                self.events.append(heard)
            elif "error" in heard:
                raise AssertionError(f"{method}: {heard['error']}")
            else:
                return heard["result"]
        raise AssertionError(f"{method}: no answer from Chromium within {within} s:\n{self.said()}")

    def page(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        return Page(self, target, self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # its helpers, too: spawn() gave it a group of its own
        self.process.wait(10)
        for end in (self.to, self.says):
            os.close(end)
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
        os.close(self._guard)


class Page:
    """One tab.  Keeps what it asked for, and what the browser complained of."""

    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        return self.browser.ask(method, self.session, **parameters)

    def events(self, method):
        return [event["params"] for event in self.browser.events
                if event.get("method") == method and event.get("sessionId") == self.session]

    def open(self, url, within=15):
        began = len(self.events("Page.loadEventFired"))
        self.ask("Page.navigate", url=url)
        harness.eventually(lambda: self.evaluate("1") and len(self.events("Page.loadEventFired")) > began, within, url)

    def evaluate(self, expression, within=15):
        """Its value; a promise's, once that is kept."""
        said = self.browser.ask("Runtime.evaluate", self.session, within, expression=expression, awaitPromise=True,
                                returnByValue=True)
        if "exceptionDetails" in said:
            raise AssertionError(f"{expression}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def text(self):
        return self.evaluate("document.body.innerText")

    def close(self):
        self.browser.ask("Target.closeTarget", targetId=self.target)

    def size(self, width, height, scale=2, mobile=False):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def prefer(self, scheme):
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def scripts(self, allowed):
        self.ask("Emulation.setScriptExecutionDisabled", value=not allowed)

    def screenshot(self, path):
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, within=30)
        with open(path, "wb") as f:
            f.write(base64.b64decode(picture["data"]))

    def requested(self):
        return [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]

    def complaints(self):
        """What stands in the browser's console in red or yellow."""
        logged = ["{level}: {text}".format_map(event["entry"]) for event in self.events("Log.entryAdded")]
        thrown = [f"exception: {e['exceptionDetails']}" for e in self.events("Runtime.exceptionThrown")]
        printed = [f"console: {e['args']}" for e in self.events("Runtime.consoleAPICalled")]
        return logged + thrown + printed
