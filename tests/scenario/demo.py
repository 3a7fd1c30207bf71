#!/usr/bin/env python3
"""demo.py -- the demo of `./run.sh demo`: a story in seven steps with real servers and real requests.
Every step is checked, not only printed; the last line is `demo: ok` or `demo: FAILED <what>`."""
import collections
import contextlib
import os
import signal
import sys
import threading
import time

import harness

APPLY_DELAY = 0.3  # of the replicas, in seconds: so that lag can be seen
AT_ONCE = 0.25     # reads that begin this soon after a write cannot find it on a replica yet
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
BOLD, DIM, GREEN, RED, YELLOW, BLUE = 1, 2, 32, 31, 33, 36


class Failed(Exception):
    """A step that did not hold."""


def paint(text, colour):
    return f"\033[{colour}m{text}\033[0m" if COLOUR else str(text)


def say(text=""):
    print(text, flush=True)


def step(number, title):
    say(f"\n{paint(number, BLUE)}  {paint(title, BOLD)}")


def tell(text):
    say(f"   {text}")


def check(holds, what):
    if not holds:
        tell(f"{paint('✗', RED)} {what}")
        raise Failed(what)
    tell(f"{paint('✓', GREEN)} {what}")


def wait(predicate, within, what):
    try:
        return harness.eventually(predicate, within)
    except AssertionError:
        raise Failed(f"{what} (waited {within} s)") from None


def chart(counts, names):
    widest = max([*counts.values(), 1])
    for name in names:
        n = counts.get(name, 0)
        bar = "█" * round(24 * n / widest)
        tell(f"  {name:<9} {paint(f'{bar:<24}', BLUE)} {n:>3}")


class Crowd:
    """Requests from several threads, one after the other in each, from now until stop()."""

    def __init__(self, work, how_many=4):
        self.work = work
        self.over = threading.Event()
        self.visits, self.errors = [], []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(how_many)]
        for thread in self.threads:
            thread.start()

    def run(self):
        try:
            while not self.over.wait(0.005):
                self.visits.append(self.work())
        except Exception as e:  # any request that fails is what a step looks for
            self.errors.append(e)

    def stop(self):
        """All visits, in order of beginning."""
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        if self.errors:
            raise Failed(f"a request failed: {self.errors[0]!r}")
        return sorted(self.visits, key=lambda visit: visit.began)


def reads_until(moment, work):
    crowd = Crowd(work)
    crowd.over.wait(max(0, moment - time.monotonic()))
    return [visit for visit in crowd.stop() if visit.began < moment]


def sign_and_read_at_once(server, text):
    """A person writes, and reads through four connections at a time until a replica might have the write."""
    person = server.visitor()
    began = time.monotonic()
    post = person.sign(text)
    if post.status != 303:
        raise Failed(f"POST /post: {post.status} {post.body!r}")
    return person, post, reads_until(began + AT_ONCE, lambda: person.sees(post.post))


class Story:
    def __init__(self, stage):
        began = time.monotonic()
        self.pg = harness.Cluster(replicas=2)
        stage.callback(self.pg.close)
        for n in (1, 2):
            self.pg.lag(n, f"{APPLY_DELAY * 1000:.0f}ms")
        tell(f"a PostgreSQL primary, and two replicas that apply {APPLY_DELAY * 1000:.0f} ms late: "
             f"up in {time.monotonic() - began:.1f} s")
        port = harness.free_port()
        self.status = f"http://127.0.0.1:{port}/"
        self.daemon = harness.Daemon(self.pg, {"http_listen": f"127.0.0.1:{port}"}, start=False, keys=[harness.random_key()])
        stage.callback(self.daemon.close)
        tell(f"pinrouted: READY in {self.daemon.start() * 1000:.0f} ms; its status page: {paint(self.status, BOLD)}")
        self.server = harness.Server(self.pg, self.daemon)
        stage.callback(self.server.close)
        tell(f"a prefork server with {self.server.workers} workers: {paint(self.server.url, BOLD)}")
        self.nodes = ["default", "shadow-1", "shadow-2"]
        self.heard = 0
        wait(lambda: {self.server.visitor().look().node for _ in range(8)} == {"shadow-1", "shadow-2"}, 10,
             "both replicas in the schedule")

    def reads_spread(self):
        step(1, "Reads spread over the replicas")
        visits = [self.server.visitor().look() for _ in range(60)]
        counts = collections.Counter(visit.node for visit in visits)
        workers = collections.Counter(visit.worker for visit in visits)
        tell(f"60 visitors read the guest-book; {len(workers)} workers answered:")
        chart(counts, self.nodes)
        check(all(visit.status == 200 for visit in visits), "every request was answered")
        check(counts["default"] == 0, "the primary answered none of them")
        check(min(counts["shadow-1"], counts["shadow-2"]) >= 20, "each replica took its share")

    def own_writes_are_seen(self):
        step(2, "A person writes, and reads at once through other workers")
        self.person, self.post, reads = sign_and_read_at_once(self.server, "Hello from step 2")
        others = {read.worker for read in reads} - {self.post.worker}
        tell(f"POST /post: worker {self.post.worker} wrote post {self.post.post} to {self.post.node} "
             f"and recorded it in {self.post.seconds * 1000:.0f} ms, all told")
        tell(f"{len(reads)} reads in the next {AT_ONCE * 1000:.0f} ms, through workers "
             f"{', '.join(sorted({read.worker for read in reads}))}:")
        chart(collections.Counter(read.node for read in reads), self.nodes)
        check(self.post.recorded == "yes", "the write was recorded")
        check(len(others) == self.server.workers - 1, "all other workers were asked")
        check(all(read.seen for read in reads), "every read saw the write")
        check({(read.node, read.reason) for read in reads} == {("default", "PINNED")},
              "all of them came from the primary: PINNED")
        self.with_pins = len(reads)

    def pins_end_early(self):
        step(3, "Moments later the same person is back on the replicas")
        reads, last = [], None

        def on_both():
            nonlocal last
            read = self.person.sees(self.post.post)
            reads.append(read)
            if (read.node, read.reason) != last:
                last = read.node, read.reason
                tell(f"  {(read.began - self.post.ended) * 1000:6.0f} ms after the write: {read.node} {read.reason}")
            return {"shadow-1", "shadow-2"} <= {r.node for r in reads if r.reason == "CAUGHT_UP"}

        wait(on_both, 5, "both replicas answer for the person again")
        back = next(read for read in reads if read.reason == "CAUGHT_UP").began - self.post.ended
        late = [self.person.sees(self.post.post) for _ in range(40)]
        chart(collections.Counter(read.node for read in late), self.nodes)
        check(all(read.seen for read in reads + late), f"all {len(reads + late)} reads saw the write")
        check(back < 3, f"the first came from a replica after {back:.2f} s; the pin itself lasts 15 s")
        check(sum(read.node != "default" for read in late) >= 32, "the primary is left alone again")

    def ignoring_pins_shows_why(self, stage):
        step(4, "The same with pins ignored: ./prefork_server --ignore-pins")
        self.careless = harness.Server(self.pg, self.daemon, "--ignore-pins")
        stage.callback(self.careless.close)
        _, post, reads = sign_and_read_at_once(self.careless, "Hello from step 4")
        stale = sum(not read.seen for read in reads)
        tell(f"post {post.post}, and {len(reads)} reads in the next {AT_ONCE * 1000:.0f} ms:")
        chart(collections.Counter(read.node for read in reads), self.nodes)
        tell(f"their own post was missing from {paint(stale, YELLOW)} of {len(reads)} reads; "
             f"with pins, from 0 of {self.with_pins}")
        check(stale > 0, "without pins people miss their own writes")

    def a_frozen_replica_leaves(self):
        step(5, "A replica freezes")
        self.heard = len(self.daemon.log)
        frozen = time.monotonic()
        self.pg.freeze(1)
        try:
            crowd = Crowd(lambda: self.server.visitor().look())
            self.expect_log("shadow-1 UP -> DOWN", 10)
            left = time.monotonic()
            crowd.over.wait(2.5)
            thawing = time.monotonic()
        finally:
            self.pg.thaw(1)
        visits = crowd.stop()
        after = [visit for visit in visits if left + 0.1 < visit.began < thawing]
        waited = [visit for visit in visits if visit.fallback]
        tell(f"SIGSTOP to shadow-1; {left - frozen:.1f} s later it is out of the schedule")
        tell(f"{len(waited)} of {len(visits)} requests met it before that and were answered by the primary, a second later")
        check(left - frozen < 5, "it leaves the schedule")
        check(all(visit.status == 200 for visit in visits), "no request failed")
        check(all("shadow-1" not in visit.node + visit.fallback for visit in after) and after,
              f"then none of {len(after)} went there: the slowest took {max(v.seconds for v in after) * 1000:.0f} ms")
        self.expect_log(r"shadow-1 \S+ -> UP", 15)
        wait(lambda: self.server.visitor().look().node == "shadow-1", 5, "requests go to shadow-1 again")
        check(True, f"SIGCONT: it answers again {time.monotonic() - thawing:.1f} s later")

    def the_daemon_dies(self):
        step(6, "The daemon is killed")
        person, post, reads = sign_and_read_at_once(self.server, "Hello from step 6")
        self.daemon.kill()
        killed = time.monotonic()
        tell("SIGKILL, a quarter of a second after a write; now nobody answers on the socket")
        reads += reads_until(killed + 0.5, lambda: person.sees(post.post))
        check(all(read.seen for read in reads), f"the pin holds: all {len(reads)} reads saw the write")
        wait(lambda: person.sees(post.post).reason == "STORE_STALE", 5, "the silence is noticed")
        tell(f"{time.monotonic() - killed:.1f} s: the silence is noticed, the person's reads go to the primary: STORE_STALE")
        visits = [self.server.visitor().look() for _ in range(40)]
        chart(collections.Counter(visit.node for visit in visits), self.nodes)
        check({visit.reason for visit in visits} == {"BALANCED"}, "visitors' reads still spread over the replicas")
        unlucky = self.server.visitor()
        written = unlucky.sign("Hello while nobody listens")
        check(written.status == 303 and written.recorded != "yes", f"a write is saved; recorded: {written.recorded}")
        check(all(unlucky.sees(written.post).seen for _ in range(40)), "its writer sees it all the same")
        tell(f"pinrouted starts again: READY in {self.daemon.start() * 1000:.0f} ms")
        reads = [person.sees(post.post), unlucky.sees(written.post)]
        check(all(read.seen for read in reads), f"both see their writes: {reads[0].reason}, {reads[1].reason}")
        again, last, reads = sign_and_read_at_once(self.server, "Hello again")
        check(last.recorded == "yes", "writes are recorded again")
        check(all(read.seen for read in reads), "and seen at once")
        wait(lambda: again.sees(last.post).reason == "CAUGHT_UP", 10, "pins end early again")
        check(True, "and the replicas take over again")

    def a_token_is_carried_to_another_host(self, stage):
        step(7, "A token carried to a second daemon with the same key file")
        daemon = harness.Daemon(self.pg, keys=self.daemon.keys)
        stage.callback(daemon.close)
        self.far = harness.Server(self.pg, daemon)
        stage.callback(self.far.close)
        tell(f"as on a second host: pinrouted with a store of its own, and a server on it: {paint(self.far.url, BOLD)}")
        traveller = self.far.visitor()
        wait(lambda: {traveller.look().node for _ in range(16)} == {"shadow-1", "shadow-2"}, 10,
             "it reads from both replicas")
        began = time.monotonic()
        person = self.server.visitor()
        post = person.sign("Hello from step 7")
        session, carried = person.at(self.far, "who"), person.at(self.far)
        missed = [session.sees(post.post) for _ in range(4)]
        reads = reads_until(began + AT_ONCE, lambda: carried.sees(post.post))
        tell(f"written on the first, read on the second: {len(missed)} times with the cookie of the session only, "
             f"then {len(reads)} times with the token too:")
        chart(collections.Counter(read.node for read in reads), self.nodes)
        check(not any(read.seen for read in missed), "without the token, every read missed the write")
        check(reads and all(read.seen for read in reads), "with it, every read saw the write")
        check({(read.node, read.reason) for read in reads} == {("default", "PINNED")},
              "all of them came from the primary: PINNED")
        back = wait(lambda: (read := carried.sees(post.post)).reason == "CAUGHT_UP" and read, 5, "the pin ends early there")
        check(back.seen, f"{back.began - post.ended:.2f} s after the write {back.node} answers there: {back.reason}")

    def expect_log(self, pattern, within):
        """Waits for a line of the daemon's, among those since `heard`."""
        try:
            self.daemon.wait_log(pattern, within, self.heard)
        except AssertionError:
            raise Failed(f"the daemon never said: {pattern}") from None

def keep(story):
    say(f"""
{paint('Left running; Ctrl-C stops everything.', BOLD)}
   status page         {story.status}
   guest-book          {story.server.url}
   with pins ignored   {story.careless.url}
   on a second host    {story.far.url}
   config              {story.daemon.conf}
   look around         {os.path.join(harness.BUILD, 'pinroutectl')} --dir {story.daemon.dir} status
   then, say, freeze a replica and see what the status page makes of it:
   freeze              DIR={story.pg.dir} {harness.PGCLUSTER} freeze 1
   thaw                DIR={story.pg.dir} {harness.PGCLUSTER} thaw 1""")
    with contextlib.suppress(KeyboardInterrupt):
        while story.daemon.process.poll() is None and story.server.process.poll() is None:
            time.sleep(0.5)
        raise Failed("the daemon or the server ended by itself")


def play(stay, stage):
    say(paint("pinroute demo", BOLD))
    story = Story(stage)
    story.reads_spread()
    story.own_writes_are_seen()
    story.pins_end_early()
    story.ignoring_pins_shows_why(stage)
    story.a_frozen_replica_leaves()
    story.the_daemon_dies()
    story.a_token_is_carried_to_another_host(stage)
    if stay:
        keep(story)


def interrupted(number, frame):
    del number, frame
    raise KeyboardInterrupt


def main(arguments):
    if arguments not in ([], ["--keep"]):
        print("usage: demo.py [--keep]", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    began = time.monotonic()
    try:
        with contextlib.ExitStack() as stage:
            play(bool(arguments), stage)
    except KeyboardInterrupt:
        say(f"\n{paint('demo: FAILED interrupted', RED)}")
        return 1
    except (Failed, AssertionError, OSError, RuntimeError) as e:
        say(f"\n{paint(f'demo: FAILED {e}', RED)}")
        return 1
    say(f"\n{time.monotonic() - began:.0f} s, everything stopped")
    say(paint("demo: ok", GREEN))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
