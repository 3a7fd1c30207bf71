"""test_site.py -- a Django site under the servers that sites run under: who wrote sees it, whichever worker answers.
One PostgreSQL cluster whose replicas lag, one daemon; each server runs every story."""
# ctest: parallel long
import concurrent.futures
import os
import signal
import sys
import threading
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scenario"))
import appserver  # noqa: E402
import harness  # noqa: E402
from harness import bound, eventually, size  # noqa: E402

LAG = {1: "150ms", 2: "300ms"}
CHECKS = {"check_interval": "300ms", "check_timeout": "300ms", "fall": 2, "rise": 2}
HEALTH_BOUND = 2 * (0.3 + 0.3) + 0.2
STUB_TIMEOUT = 0.05
BREAKER = 3  # timeouts in a row, and it asks no more
ROUNDS = size(1000, 100)
CLIENTS = [appserver.Browser, appserver.LoggedIn, appserver.TokenClient, appserver.UserClient]
WAYS = ["sign", "sign-in-a-transaction", "sign-and-fail"]
REPLICAS = {"shadow-1", "shadow-2"}


def setUpModule():
    """What all servers share: a database with tables, replicas that lag, and the daemon."""
    global pg, daemon
    pg = harness.Cluster(replicas=2)
    unittest.addModuleCleanup(pg.close)
    daemon = harness.Daemon(pg, cluster_options=CHECKS)
    unittest.addModuleCleanup(daemon.close)
    appserver.manage(pg, daemon, "migrate", "-v0")
    for n, delay in LAG.items():
        pg.lag(n, delay)


def replicas_have_all():
    return all(pg.caught_up(n) for n in LAG)


class Writer:
    """A client that signs the book and looks for what it signed at once, until another worker than the writing one has
    answered.  Counts, and tells of the slowest request since begin()."""

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.signed = 0
        self.begin()

    def begin(self):
        self.rounds = self.looks = self.slowest = 0
        self.stale = []

    def timed(self, answer):
        self.slowest = max(self.slowest, answer.seconds)
        return answer

    def sign(self):
        """Signs in the way whose turn it is; returns the text and the worker that answered."""
        way, text = WAYS[self.signed % len(WAYS)], f"{self.name} {self.signed}"
        self.signed += 1
        said = self.timed(self.client.request("POST", f"/{way}", {"text": text}))
        if said.status != (500 if way == "sign-and-fail" else 200):
            raise AssertionError(f"{self.name}: {way} answered {said.status}")
        if way == "sign-in-a-transaction" and (said.aliases, said.counts) != (["default", "default"], [0, 1]):
            raise AssertionError(f"{self.name}: in its transaction it saw {said.counts} in {said.aliases}")
        return text, said.pid

    def round(self):
        text, writer = self.sign()
        for seen in self.client.seen_by_another(text, writer):
            self.timed(seen)
            self.looks += 1
            if not seen.visible:
                self.stale.append(f"{text}: not in {seen.alias}, asked by {seen.pid}, written by {writer}")
        self.rounds += seen.pid != writer

    def play(self, rounds):
        for _ in range(rounds):
            self.round()
        return self


def all_at_once(jobs):
    """Runs the functions in a thread each and returns what they returned."""
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        return [done.result() for done in [pool.submit(job) for job in jobs]]


class Stories:
    """What has to hold under every server; `kind` is one of appserver.COMMANDS."""

    @classmethod
    def setUpClass(cls):
        cls.site = cls.shared(appserver.AppServer(cls.kind, pg, daemon))
        cls.numbers = iter(range(10**6))

    def setUp(self):
        eventually(lambda: {self.look(self.site).alias for _ in range(8)} == REPLICAS, 20, "both replicas are read")

    def look(self, site):
        return appserver.Client(site).seen("nothing")

    def new_name(self, what):
        return f"{type(self).__name__} {what} {next(self.numbers)}"

    def writers(self, site, *kinds):
        """A writer for each class of client; users that have joined are known to the replicas."""
        made = []
        for kind in kinds:
            name = self.new_name(kind.__name__)
            users = [] if kind in (appserver.Browser, appserver.TokenClient) else [name]
            made.append(Writer(kind(site, *users), name))
        eventually(replicas_have_all, 10)
        return made

    def report(self, title, writers):
        stale, looks = sum(len(w.stale) for w in writers), sum(w.looks for w in writers)
        slowest = max(w.slowest for w in writers) * 1000
        print(f"{self.kind}, {title}: {sum(w.rounds for w in writers)} rounds of {len(writers)} clients, read by "
              f"another worker each, {looks} reads, {stale} stale, slowest request {slowest:.0f} ms", flush=True)

    def assert_all_fresh(self, title, writers, rounds):
        self.report(title, writers)
        for w in writers:
            self.assertEqual((w.rounds, w.stale[:3]), (rounds, []), f"{w.name}: {len(w.stale)} stale")

    def test_whoever_wrote_sees_it_whichever_worker_answers(self):
        writers = self.writers(self.site, *CLIENTS)
        all_at_once([lambda w=w: w.play(ROUNDS) for w in writers])
        self.assert_all_fresh("pinning router", writers, ROUNDS)

    def test_with_the_plain_router_stale_reads_are_found(self):
        site = appserver.AppServer(self.kind, pg, daemon, BOOK_ROUTER="ReplicaRouter")
        self.addCleanup(site.close)
        writers = self.writers(site, *CLIENTS)
        all_at_once([lambda w=w: w.play(size(100, 15)) for w in writers])
        self.report("plain router", writers)
        for w in writers:
            self.assertGreater(len(w.stale), 0, w.name)

    def test_who_has_just_joined_is_known_to_every_worker_at_once(self):
        for kind in (appserver.LoggedIn, appserver.UserTokenClient):
            name = self.new_name(kind.__name__)
            client = kind(self.site, name)
            for seen in client.seen_by_another("nothing", client.joined.pid):
                self.assertEqual(seen.status, 200, seen.asked)
                self.assertEqual(seen.who, name, seen.asked)

    def test_a_write_in_a_get_is_seen_too(self):
        for kind in (appserver.Browser, appserver.TokenClient):
            client, text = kind(self.site), self.new_name("link")
            wrote = client.request("GET", "/sign-by-link", {"text": text})
            for seen in client.seen_by_another(text, wrote.pid):
                self.assertTrue(seen.visible, (kind, seen.alias))

    def test_a_request_reads_from_one_replica_also_when_its_user_becomes_known_meanwhile(self):
        writer, = self.writers(self.site, appserver.UserClient)

        def one_each():
            looks = [writer.client.seen("nothing") for _ in range(16)]
            return {tuple(look.asked) for look in looks} == {(alias, alias) for alias in REPLICAS}

        eventually(one_each, 20, "the user and their posts are read from one replica, and both replicas are read")

    def test_a_pin_ends_when_the_replicas_have_caught_up(self):
        writer, = self.writers(self.site, appserver.UserClient)

        def reads_replicas():
            return all(writer.client.seen("nothing").alias in REPLICAS for _ in range(8))

        eventually(reads_replicas, 20, "no worker owes the daemon a write from when it was away")
        writer.round()
        eventually(reads_replicas, 5, "replicas are read again")

    def looks_of_all(self, site, workers, each=4):
        """Looks until each of these workers has answered so often."""
        looks = []

        def enough():
            looks.append(self.look(site))
            answered = [look.pid for look in looks]
            return all(answered.count(pid) >= each for pid in workers)

        eventually(enough, 20, "an answer of every worker", every=0)
        return looks

    def test_reads_of_those_who_wrote_nothing_spread_evenly_over_the_replicas(self):
        looks = self.looks_of_all(self.site, self.site.workers(), each=20)
        by_alias = {alias: sum(look.alias == alias for look in looks) for alias in REPLICAS}
        self.assertEqual(sum(by_alias.values()), len(looks))
        self.assertTrue(all(look.asked == [look.alias] for look in looks))
        self.assertLessEqual(abs(by_alias["shadow-1"] - by_alias["shadow-2"]), self.site.count, by_alias)

    @staticmethod
    def store_avoids_shadow_2():
        replicas = daemon.ask("why", "main", "nobody")["replicas"]
        return not next(replica["scheduled"] for replica in replicas if replica["name"] == "shadow-2")

    def test_a_frozen_replica_is_avoided_by_every_worker_and_by_one_that_is_forked_meanwhile(self):
        heard, began = len(daemon.log), time.monotonic()
        self.addCleanup(pg.thaw, 2)
        pg.freeze(2)
        daemon.wait_log("shadow-2 UP -> DOWN", bound(HEALTH_BOUND), heard)
        eventually(self.store_avoids_shadow_2, 2, "a commit of what the log said a moment before")
        avoided = time.monotonic() - began  # by every request that begins from here on
        looks = self.looks_of_all(self.site, self.site.workers())
        before = self.site.workers()
        os.kill(min(before), signal.SIGKILL)
        newcomer = eventually(lambda: self.site.workers() - before, 10, "a new worker")
        looks += self.looks_of_all(self.site, newcomer)
        self.assertEqual({alias for look in looks for alias in look.asked}, {"shadow-1"})
        slowest = max(look.seconds for look in looks)
        print(f"{self.kind}, frozen replica: avoided by all workers {avoided:.2f} s after it froze, "
              f"slowest of {len(looks)} requests {slowest * 1000:.0f} ms", flush=True)
        self.assertLess(slowest, bound(0.5))

    def play_while(self, writers, disturb, rounds):
        """Every writer plays; when each has done half of it, disturb() happens in the midst of what they do.
        Returns the slowest request before that, and after."""
        half = threading.Barrier(len(writers) + 1)
        before = []

        def play(writer):
            try:
                writer.play(rounds // 2)
                before.append(writer.slowest)
                half.wait(60)
            except BaseException:
                half.abort()
                raise
            writer.slowest = 0
            writer.play(rounds - rounds // 2)

        def disturber():
            half.wait(60)
            disturb()

        all_at_once([*(lambda w=w: play(w) for w in writers), disturber])
        return max(before), max(w.slowest for w in writers)

    def revive(self):
        """The daemon runs again, whatever happened to it."""
        if daemon.process.poll() is None:
            daemon.resume()
        else:
            daemon.start()

    def assert_unharmed_by(self, disturb, title, timeouts):
        """Nothing stale, and no request takes longer than usual by more than so many timeouts of the stub."""
        writers = self.writers(self.site, appserver.Browser, appserver.LoggedIn, appserver.TokenClient,
                               appserver.UserTokenClient)
        self.addCleanup(self.revive)
        rounds = size(600, 30)
        usual, slowest = self.play_while(writers, disturb, rounds)
        self.assert_all_fresh(title, writers, rounds)
        print(f"{self.kind}, {title}: slowest request before {usual * 1000:.0f} ms, after {slowest * 1000:.0f} ms",
              flush=True)
        self.assertLessEqual(slowest, usual + bound(timeouts * STUB_TIMEOUT))

    def test_a_killed_daemon_costs_writers_one_timeout_and_no_write(self):
        self.assert_unharmed_by(daemon.kill, "daemon killed", 1)
        self.assertEqual(self.look(self.site).status, 200)

    def test_a_daemon_that_hangs_costs_writers_no_more_than_the_breaker_lets_pass(self):
        self.assert_unharmed_by(daemon.pause, "daemon hangs", BREAKER)

    def test_a_user_without_a_token_reads_from_the_primary_once_the_dead_daemon_is_noticed(self):
        writer, = self.writers(self.site, appserver.UserClient)
        self.addCleanup(self.revive)
        daemon.kill()
        eventually(lambda: writer.client.seen("nothing").alias == "default", 5, "the store is stale")
        writer.play(size(100, 15))
        self.assert_all_fresh("daemon dead", [writer], size(100, 15))


class Uwsgi(Stories, harness.Scenario):
    kind = "uwsgi"


class Gunicorn(Stories, harness.Scenario):
    kind = "gunicorn"


class GunicornPreload(Stories, harness.Scenario):
    kind = "gunicorn --preload"


class GunicornThreads(Stories, harness.Scenario):
    kind = "gthread"


if __name__ == "__main__":
    unittest.main()
