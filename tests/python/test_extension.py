#!/usr/bin/env python3
"""test_extension.py -- the module `pinroute`: what its calls take, answer, keep and give back.
ctest: parallel"""
import array
import contextlib
import copy
import functools
import gc
import inspect
import os
import pathlib
import pickle
import random
import sys
import threading
import tracemalloc
import unittest
import weakref

from extension import Case, NOT_PINNED, NOWHERE, REPLICAS, main_of, no_switching, nodes_of, run_python

import pinroute  # found by extension.py
from harness import eventually, size


class Arguments(Case):
    def test_a_key_is_text_as_utf_8_or_any_bytes(self):
        self.pin("schlüssel-é-ключ-鍵")
        raw = "schlüssel-é-ключ-鍵".encode()
        for key in (raw, bytearray(raw), memoryview(raw), memoryview(b"-" + raw)[1:], array.array("B", raw)):
            self.assertEqual(self.reason(key), pinroute.PINNED, type(key))
        self.assertIn(self.reason(raw[:-1]), NOT_PINNED)
        self.pin(b"\0\xff\0")
        self.assertEqual(self.reason(bytearray(b"\0\xff\0")), pinroute.PINNED)
        self.pin("nul\0inside")
        self.assertIn(self.reason("nul"), NOT_PINNED)
        self.pin(b"k" * pinroute.KEY_MAX)

    def test_a_bytearray_is_free_again_after_the_call(self):
        key = bytearray(b"grows")
        self.router.record_write(self.main, key)
        self.router.node_for_read(self.main, key)
        self.router.scope(self.main, key).rekey(key)
        with self.assertRaises(ValueError):
            self.router.record_write(10**6, key)
        key.extend(b" on")  # BufferError if anyone held it still

    def test_arguments_go_by_name_too(self):
        r = self.router
        self.pin("by name")
        self.assertEqual(r.route_read(cluster=self.main, key="by name").reason, pinroute.PINNED)
        self.assertEqual(r.node_for_read(key="by name", cluster=self.main), "default")
        self.assertEqual(r.record_write(self.main, key="by name", seconds=1), pinroute.OK)
        self.assertEqual(r.record_writes(self.main, keys=["by name"], seconds=1), pinroute.OK)
        self.assertEqual(r.hold(cluster=self.main, key="by name", ms=1), pinroute.OK)
        self.assertEqual(r.scope(cluster=self.main, key="by name").node(), "default")
        self.assertIsNone(r.endpoint(cluster=self.main, node="shadow-7"))
        self.assertIs(type(r.token_issue(cluster=self.main, key="by name")), str)

    def test_wrong_arguments_raise_and_name_the_argument(self):
        r, main, scope = self.router, self.main, self.router.scope(self.main, "x")
        long = b"k" * (pinroute.KEY_MAX + 1)
        spread = memoryview(b"abcdef")[::2]
        wrong = [
            (TypeError, "cluster", lambda: r.route_read()),
            (TypeError, "integer", lambda: r.route_read("main")),
            (TypeError, "integer", lambda: r.route_write(1.0)),
            (TypeError, "key", lambda: r.route_read(main, 7)),
            (TypeError, "key", lambda: r.node_for_read(main, ["a"])),
            (TypeError, "at most 3", lambda: r.node_for_read(main, "a", 1, "b")),
            (TypeError, "'kez'", lambda: r.node_for_read(main, kez="a")),
            (TypeError, "twice.*'key'", lambda: r.node_for_read(main, "a", key="b")),
            (TypeError, "'key'", lambda: r.record_write(main)),
            (TypeError, "key", lambda: r.record_write(main, None)),
            (TypeError, "'keys'", lambda: r.record_writes(main)),
            (TypeError, "keys: an iterable", lambda: r.record_writes(main, "abc")),
            (TypeError, "keys: an iterable", lambda: r.record_writes(main, b"abc")),
            (TypeError, "iterable", lambda: r.record_writes(main, 7)),
            (TypeError, "key", lambda: r.record_writes(main, ["a", None])),
            (ValueError, "key: 1 to 4096", lambda: r.record_writes(main, ["a", ""])),
            (ValueError, "cluster", lambda: r.record_writes(60, ["a"])),
            (ValueError, "seconds", lambda: r.record_writes(main, ["a"], -1)),
            (TypeError, "key", lambda: r.hold(main, None, 1)),
            (TypeError, "key", lambda: r.token_issue(main, None)),
            (TypeError, "'ms'", lambda: r.hold(main, "a")),
            (TypeError, "node", lambda: r.endpoint(main, b"default")),
            (TypeError, "name", lambda: r.cluster(b"main")),
            (TypeError, "token", lambda: scope.accept(None)),
            (TypeError, "token", lambda: scope.accept(bytearray(b"t"))),
            (TypeError, "key", lambda: scope.rekey(5)),
            (TypeError, "method", lambda: pinroute.http_method_writes(b"GET")),
            (TypeError, "argument", lambda: pinroute.Router("/a", "/b")),
            (TypeError, "PathLike", lambda: pinroute.Router(5.0)),
            (TypeError, "no_replica: NoReplica or", lambda: pinroute.Router(NOWHERE, no_replica=OSError)),
            (TypeError, "no_replica: NoReplica or", lambda: pinroute.Router(NOWHERE, no_replica=pinroute.NoReplica())),
            (ValueError, "key: 1 to 4096 bytes, not 0", lambda: r.route_read(main, "")),
            (ValueError, "key: 1 to 4096 bytes, not 4097", lambda: r.scope(main, long)),
            (ValueError, "key: 1 to 4096", lambda: scope.rekey(bytearray())),
            (ValueError, "key: its bytes", lambda: r.route_read(main, spread)),
            (ValueError, "surrogates", lambda: r.route_read(main, "\ud800")),
            (ValueError, "cluster", lambda: r.route_read(-1)),
            (ValueError, "within_ms: 0 to", lambda: r.route_read(main, "k", within_ms=-1)),
            (TypeError, "integer", lambda: r.node_for_read(main, within_ms="soon")),
            (ValueError, "within_ms: 0 to", lambda: r.scope(main).read(-1)),
            (TypeError, "no argument 'ms'", lambda: r.scope(main).read(ms=1)),
            (ValueError, "cluster", lambda: r.route_read(60)),
            (ValueError, "cluster", lambda: r.route_write(60)),
            (ValueError, "cluster", lambda: r.node_for_write(2**31)),
            (ValueError, "cluster", lambda: r.node_for_read(2**80)),
            (ValueError, "cluster", lambda: r.record_write(60, "a")),
            (ValueError, "cluster", lambda: r.hold(60, "a", 1)),
            (ValueError, "cluster", lambda: r.token_issue(60, "a")),
            (ValueError, "cluster", lambda: r.endpoint(60, "default")),
            (ValueError, "cluster", lambda: r.scope(60, "a")),
            (ValueError, "seconds", lambda: r.record_write(main, "a", -1)),
            (ValueError, "ms", lambda: r.hold(main, "a", 0)),
            (ValueError, "name", lambda: r.cluster("a b")),
            (ValueError, "name", lambda: r.cluster("")),
            (ValueError, "name", lambda: r.cluster("main\0")),
            (ValueError, "name", lambda: r.has_cluster("n" * 64)),
            (ValueError, "node", lambda: r.endpoint(main, "default\0")),
            (ValueError, "dir", lambda: pinroute.Router("")),
            (ValueError, "dir", lambda: pinroute.Router("/" + "d" * 200)),
            (ValueError, "null byte", lambda: pinroute.Router("/a\0b")),
            (ValueError, "timeout_ms", lambda: pinroute.Router(NOWHERE, timeout_ms=0)),
            (ValueError, "timeout_ms", lambda: pinroute.Router(NOWHERE, timeout_ms=60001)),
            (ValueError, "status", lambda: pinroute.strerror(-1)),
        ]
        for kind, words, call in wrong:
            with self.subTest(inspect.getsource(call).strip()), self.assertRaisesRegex(kind, words):
                call()

    def test_a_directory_is_a_str_bytes_a_path_or_the_environments(self):
        directory = self.host.dir
        for given in (directory, os.fsencode(directory), pathlib.Path(directory)):
            self.assertIn(self.router_on(given), REPLICAS)
        program = "import pinroute; r = pinroute.Router(); print(r.node_for_read(r.cluster('main')))"
        self.assertIn(run_python(program, PINROUTE_DIR=directory).strip(), REPLICAS)

    def router_on(self, directory):
        router = pinroute.Router(directory)
        self.addCleanup(router.close)
        return router.node_for_read(router.cluster("main"))

    def test_a_cluster_has_one_number_and_65_names_are_too_many(self):
        router = self.another()
        numbers = [router.cluster(f"c{n}") for n in range(64)]
        self.assertEqual(len(set(numbers)), 64)
        self.assertEqual([router.cluster(f"c{n}") for n in range(64)], numbers)
        with self.assertRaises(ValueError):
            router.cluster("main")
        self.assertTrue(self.router.has_cluster("main"))
        self.assertFalse(self.router.has_cluster("elsewhere"))
        self.assertTrue(pinroute.Router(NOWHERE).has_cluster("elsewhere"))
        self.assertEqual(self.router.route_read(self.router.cluster("elsewhere")).node, "")


class Answers(Case):
    def test_a_decision_says_what_was_decided_and_why(self):
        d = self.router.route_read(self.main)
        self.assertIn(d.node, REPLICAS)
        self.assertEqual((d.role, d.reason, d.reason_name), (pinroute.REPLICA, pinroute.BALANCED, "BALANCED"))
        self.assertEqual(d.pin_left_ms, 0)
        self.assertGreater(d.epoch, 0)
        self.pin("why")
        d = self.router.route_read(self.main, "why")
        self.assertEqual((d.node, d.role, d.reason_name), ("default", pinroute.PRIMARY, "PINNED"))
        self.assertTrue(50000 < d.pin_left_ms < 60100, d)
        said = f"Decision(node='default', role=PRIMARY, reason=PINNED, pin_left_ms={d.pin_left_ms}, epoch={d.epoch})"
        self.assertEqual(repr(d), said)
        d = self.router.route_write(self.main)
        self.assertEqual((d.node, d.role, d.reason_name), ("default", pinroute.PRIMARY, "WRITE"))
        self.assertEqual(self.router.node_for_write(self.main), "default")

    def test_a_recorded_write_is_caught_up_with(self):
        self.assertEqual(self.router.record_write(self.main, "fresh"), pinroute.OK)
        eventually(lambda: self.reason("fresh") == pinroute.CAUGHT_UP, 10)
        self.assertIn(self.router.node_for_read(self.main, "fresh"), REPLICAS)

    def test_nothing_about_an_answer_can_be_changed(self):
        d = self.router.route_read(self.main)
        for name in ("node", "role", "reason", "reason_name", "refused", "pin_left_ms", "epoch"):
            with self.assertRaises(AttributeError):
                setattr(d, name, 1)
            with self.assertRaises(AttributeError):
                delattr(d, name)
        for thing in (d, self.router, self.router.scope(self.main)):
            with self.assertRaises(AttributeError):
                thing.more = 1
            with self.assertRaises(TypeError):
                type(thing).more = 1
            with self.assertRaises(TypeError):
                type("Mine", (type(thing),), {})
        for made_by_us in (pinroute.Decision, pinroute.Scope):
            with self.assertRaises(TypeError):
                made_by_us()

    def test_the_same_name_is_the_same_object(self):
        router, main = self.router, self.main
        names = {id(sys.intern(name)): name for name in sorted(REPLICAS) + ["default"]}
        for source in (lambda: router.node_for_read(main), lambda: router.route_read(main).node,
                       lambda: router.scope(main).node(), lambda: router.scope(main, "k").read().node,
                       lambda: router.node_for_write(main), lambda: router.route_write(main).node):
            for _ in range(4):
                given = source()
                self.assertEqual(names.get(id(given)), given)
        scope = self.router.scope(self.main)
        self.assertIs(scope.node(), scope.node())

    def test_names_follow_the_config(self):
        router = self.another(host=self.far)
        number = router.cluster("renamed")
        port = f"port={self.far.servers[1].port}"
        for names in (("left", "right"), ("right", "left"), ("west", "east")):
            self.far.reload({"main": self.far.nodes(*sorted(REPLICAS)), "renamed": self.far.nodes(*names)})
            eventually(lambda names=names: nodes_of(router, number) == set(names), 10)
            eventually(lambda names=names: port in (router.endpoint(number, names[0]) or ""), 10)

    def test_a_name_alone_never_hides_that_the_config_refuses_the_read(self):
        class Away(pinroute.NoReplica, OSError):
            pass

        routers = {pinroute.NoReplica: pinroute.Router(self.far.dir),
                   Away: pinroute.Router(self.far.dir, no_replica=Away)}
        for option, value, reason in (("no_replica", "error", "NO_REPLICA"), ("primary_budget", 1, "OVER_BUDGET")):
            self.far.reload({"main": self.far.nodes(*sorted(REPLICAS)), "bare": self.far.nodes()}, **{option: value})
            for kind, router in routers.items():
                bare = router.cluster("bare")
                eventually(lambda: router.route_read(bare).reason_name == reason, 10)
                for call in (lambda: router.node_for_read(bare), lambda: router.node_for_read(bare, within_ms=20000),
                             lambda: router.scope(bare).node()):
                    raised = eventually(lambda: self.raised(call), 10)  # the budget's one read may be this one
                    self.assertIs(type(raised), kind)
                    self.assertRegex(str(raised), f"^{reason}: no replica .*{option}")
                for call in (router.route_read, lambda number: router.scope(number).read()):
                    d = eventually(lambda: next((d for d in (call(bare), call(bare)) if d.refused), None), 10)
                    self.assertEqual((d.node, d.reason_name, repr(d)[-15:]), ("default", reason, ", refused=True)"))
                forced = router.scope(bare)
                forced.force_primary()
                self.assertEqual((forced.node(), forced.read().refused, router.node_for_write(bare)),
                                 ("default", False, "default"))
                self.assertIn(router.node_for_read(main_of(router)), REPLICAS)

    @staticmethod
    def raised(call):
        try:
            call()
        except pinroute.NoReplica as e:
            return e
        return None

    def test_many_names_do_not_get_mixed_up(self):
        names = {cluster: {f"{cluster}-{i}" for i in range(28)} for cluster in ("many", "more")}
        replica = self.far.servers[1].conninfo()
        clusters = {cluster: self.far.nodes() + [f"{name} = {replica}" for name in names[cluster]] for cluster in names}
        self.far.reload({"main": self.far.nodes(*sorted(REPLICAS)), **clusters})
        router = self.another(host=self.far)
        numbers = {cluster: router.cluster(cluster) for cluster in names}
        for cluster, number in numbers.items():
            eventually(lambda: {router.node_for_read(number) for _ in range(28)} == names[cluster], 15)
        for _ in range(3):  # more names than the router remembers
            for cluster, number in numbers.items():
                self.assertEqual({router.node_for_read(number) for _ in range(28)}, names[cluster])

    def test_a_scope_repeats_writes_and_records(self):
        with self.router.scope(self.main, "scoped") as scope:
            first = scope.node()
            self.assertEqual([scope.node() for _ in range(10)], [first] * 10)
            self.assertIn(scope.read().reason, NOT_PINNED)
            scope.wrote()
            self.assertEqual((scope.node(), scope.read().reason), ("default", pinroute.FORCED))
            self.assertIn(self.reason("scoped"), NOT_PINNED)
        self.assert_recorded("scoped")
        self.assertEqual(scope.end(), pinroute.OK)

    def test_a_read_within_a_bound_goes_to_a_replica_that_is_known_to_be_so_recent(self):
        router, main = self.router, self.main
        eventually(lambda: {router.node_for_read(main, "k", within_ms=20000) for _ in range(4)} == REPLICAS, 10)
        self.assertEqual(router.route_read(main, within_ms=20000).reason, pinroute.BALANCED)
        d = router.route_read(main, "k", 0)
        self.assertEqual((d.node, d.reason, d.reason_name), ("default", pinroute.BEHIND, "BEHIND"))
        self.assertIn(router.route_read(main, "k", within_ms=None).reason, NOT_PINNED)
        with router.scope(main, "k") as scope:
            first = scope.read()
            self.assertEqual(scope.read(within_ms=20000).node, first.node)
            self.assertEqual(scope.read(20000).node, first.node)
            self.assertEqual(scope.read(within_ms=0).reason, pinroute.BEHIND)
            self.assertEqual((scope.read().reason, scope.node()), (pinroute.BEHIND, "default"))

    def test_many_writes_are_recorded_at_once(self):
        held = bytearray(b"many-b")
        keys = {"many-a": 1, "many-c": 2}
        self.assertEqual(self.router.record_writes(self.main, keys), pinroute.OK)
        self.assertEqual(self.router.record_writes(self.main, (key for key in (held, memoryview(b"many-d")))), pinroute.OK)
        self.assertEqual(self.router.record_writes(self.main, [f"many-{i}" for i in range(200)]), pinroute.OK)
        for key in ("many-a", "many-b", "many-c", "many-d", "many-0", "many-199"):
            self.assert_recorded(key)
        with self.assertRaises(TypeError):
            self.router.record_writes(self.main, [held, 5])
        held.extend(b" is free again")
        self.assertEqual(self.router.record_writes(self.main, []), pinroute.OK)

    def test_a_scope_that_raises_is_recorded_all_the_same(self):
        with self.assertRaises(ZeroDivisionError), self.router.scope(self.main, "raised") as scope:
            scope.wrote()
            1 / 0
        self.assert_recorded("raised")

    def test_a_scope_that_only_read_records_nothing(self):
        with self.router.scope(self.main, "reader") as scope:
            scope.node()
        self.assertIn(self.reason("reader"), NOT_PINNED)

    def test_forcing_nests(self):
        scope = self.router.scope(self.main, "forced")
        first = scope.node()
        for _ in range(3):
            scope.force_primary()
        for _ in range(3):
            self.assertEqual(scope.node(), "default")
            scope.unforce()
        self.assertEqual(scope.node(), first)

    def test_a_scope_takes_another_key_and_keeps_what_the_old_one_needs(self):
        self.pin("before log-in")
        self.pin("after log-in")
        scope = self.router.scope(self.main)
        self.assertEqual(scope.read().reason, pinroute.BALANCED)
        scope.rekey("after log-in")
        self.assertEqual(scope.read().reason, pinroute.PINNED)
        scope = self.router.scope(self.main, "before log-in")
        scope.rekey("nobody")
        self.assertEqual(scope.node(), "default")
        scope.rekey(None)
        self.assertEqual(scope.node(), "default")
        scope = self.router.scope(self.main, "temporary")
        scope.rekey("lasting")
        scope.wrote()
        self.assertEqual(scope.end(), pinroute.OK)
        self.assertIn(self.reason("temporary"), NOT_PINNED)
        self.assert_recorded("lasting")

    def test_an_endpoint_is_told_without_secrets(self):
        self.assertIn(f"port={self.host.servers[0].port}", self.router.endpoint(self.main, "default"))
        self.assertIsNone(self.router.endpoint(self.main, "nobody"))

    def test_without_a_store_everything_answers_and_nothing_raises(self):
        router = pinroute.Router(NOWHERE, timeout_ms=5)
        main = router.cluster("main")
        d = router.route_read(main, "k")
        self.assertEqual((d.node, d.role, d.reason_name, d.epoch), ("", pinroute.PRIMARY, "STORE_UNAVAILABLE", 0))
        self.assertIs(router.node_for_read(main), sys.intern(""))
        self.assertEqual(router.node_for_write(main), "")
        self.assertEqual(router.record_write(main, "k"), pinroute.E_UNREACHABLE)
        self.assertEqual(router.record_writes(main, ["k", "l"]), pinroute.E_UNREACHABLE)
        self.assertEqual(router.record_writes(main, []), pinroute.OK)
        self.assertEqual(router.hold(main, "k", 5), pinroute.E_UNREACHABLE)
        self.assertIsNone(router.token_issue(main, "k"))
        self.assertIsNone(router.endpoint(main, "default"))
        with router.scope(main, "k") as scope:
            scope.wrote()
            self.assertEqual((scope.node(), scope.end()), ("", pinroute.E_UNREACHABLE))
        named = "import pinroute; r = pinroute.Router(); print(ascii(r.node_for_read(r.cluster('main'))))"
        said = run_python(named, PINROUTE_DIR=NOWHERE, PINROUTE_PRIMARY="h\udcffme")
        self.assertEqual(said.strip(), r"'h\udcffme'")


class Closing(Case):
    def test_a_closed_router_and_its_scopes_answer_as_without_a_store(self):
        router = self.another()
        main = router.cluster("main")
        scope = router.scope(main, "open")
        self.assertIn(scope.node(), REPLICAS)
        scope.wrote()
        self.assertFalse(router.closed)
        router.close()
        router.close()
        self.assertTrue(router.closed)
        self.assertEqual(router.route_read(main, "k").reason, pinroute.STORE_UNAVAILABLE)
        self.assertEqual(router.route_write(99).reason, pinroute.STORE_UNAVAILABLE)
        self.assertEqual((router.node_for_read(99), router.node_for_write(main), scope.node()), ("", "", ""))
        self.assertEqual(scope.read().role, pinroute.PRIMARY)
        self.assertEqual(router.record_write(main, "k"), pinroute.E_UNREACHABLE)
        self.assertEqual(router.record_writes(main, ["k"]), pinroute.E_UNREACHABLE)
        self.assertEqual(router.hold(main, "k", 1), pinroute.E_UNREACHABLE)
        self.assertEqual(scope.accept("token"), pinroute.E_STORE)
        self.assertEqual(scope.end(), pinroute.E_UNREACHABLE)
        self.assertEqual(scope.end(), pinroute.OK)
        self.assertIsNone(router.token_issue(main, "k"))
        self.assertIsNone(router.endpoint(main, "default"))
        self.assertEqual((router.cluster("other"), router.has_cluster("other")), (0, True))
        for call in (scope.wrote, scope.force_primary, scope.unforce, lambda: scope.rekey("x")):
            self.assertIsNone(call())
        with router.scope(main, "late") as late:
            self.assertEqual(late.node(), "")
        with self.assertRaises(ValueError):
            router.route_read(main, "")

    def test_a_router_may_go_before_its_scopes_and_answers(self):
        router = pinroute.Router(self.host.dir)
        scope = router.scope(router.cluster("main"), "k")
        decision = scope.read()
        del router
        gc.collect()
        self.assertIn(scope.node(), REPLICAS)
        del scope
        self.assertIn(decision.node, REPLICAS)

    def test_descriptors_and_maps_are_given_back_by_close_and_by_the_last_reference(self):
        def opened():
            with open("/proc/self/maps", encoding="ascii") as maps:
                return len(os.listdir("/proc/self/fd")), sum(self.host.dir in line for line in maps)

        before = opened()
        for number in range(50):
            router = pinroute.Router(self.host.dir)
            router.record_write(router.cluster("main"), "k")
            if number % 2:
                router.close()
        del router
        self.assertEqual(opened(), before)

    def test_another_thread_closes_while_calls_wait(self):
        for ask in (lambda router, main: router.record_write(main, "k"), self.end_a_scope):
            router = self.another(timeout_ms=300)
            main = router.cluster("main")
            statuses = []
            with self.host.paused():
                thread = threading.Thread(target=lambda: statuses.append(ask(router, main)))
                with no_switching():
                    thread.start()  # returns when the thread has given up the GIL, which is in its call
                router.close()
                self.assertEqual(router.node_for_read(main), "")
                thread.join()
            self.assertEqual(statuses, [pinroute.E_UNREACHABLE])
            eventually(lambda: self.router.record_write(self.main, "back") == pinroute.OK, 10)

    @staticmethod
    def end_a_scope(router, main):
        scope = router.scope(main, "k")
        scope.wrote()
        return scope.end()


class Tokens(Case):
    def token(self, key="traveller", cluster="main"):
        number = self.router.cluster(cluster)
        self.assertEqual(self.router.record_write(number, key), pinroute.OK)
        return self.router.token_issue(number, key)

    def test_a_token_is_a_short_text_and_is_accepted_as_text_or_bytes(self):
        token = self.token()
        self.assertRegex(token, r"^[A-Za-z0-9_-]{80,95}$")
        for given in (token, token.encode()):
            self.assertEqual(self.router.scope(self.main).accept(given), pinroute.OK)

    def test_a_token_carries_a_pin_to_another_host(self):
        far = self.another(host=self.far)
        scope = far.scope(main_of(far))
        self.assertEqual(scope.read().reason, pinroute.BALANCED)
        self.assertEqual(scope.accept(self.token("guest")), pinroute.OK)
        self.assertIn(scope.read().reason, (pinroute.PINNED, pinroute.CAUGHT_UP))

    def test_what_is_no_token_of_ours_is_refused_and_changes_nothing(self):
        token, chance = self.token(), random.Random(3)
        altered = [token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1:] for n in range(len(token) - 1)]
        garbage = ["", " ", "\0", token[:-1], token + "A", token + "\0", "\0" + token, token + "\n", token.swapcase(),
                   "é" * 43, "\ud800" * 86, "A" * len(token), "A" * 10**6, b"", b"\xff" * 86, b"\0" * 86,
                   token.encode() + b"\0junk"]
        noise = [chance.randbytes(chance.randrange(200)) for _ in range(size(20000, 2000))]
        scope = self.router.scope(self.main)
        for text in (*altered, *garbage, *noise):
            self.assertEqual(scope.accept(text), pinroute.E_TOKEN_FORGED, text[:99])
        self.assertEqual(scope.read().reason, pinroute.BALANCED)

    def test_a_token_of_another_cluster_is_foreign(self):
        scope = self.router.scope(self.main)
        self.assertEqual(scope.accept(self.token(cluster="reports")), pinroute.E_TOKEN_FOREIGN)
        self.assertEqual(scope.read().reason, pinroute.BALANCED)


class Memory(Case):
    """Over and over, and nothing is left behind: no reference, no block."""

    CALLS = size(1000000, 20000)  # of each

    def calls(self):
        router, main, scope = self.router, self.main, self.router.scope(self.main, "memory")
        decision, token = router.route_read(main), router.token_issue(main, "memory")
        ours = bytearray(b"memory")
        return {
            "route_read": lambda: router.route_read(main, "memory"),
            "node_for_read": lambda: router.node_for_read(main, b"memory"),
            "keyword": lambda: router.node_for_read(cluster=main, key=ours),
            "route_write": lambda: router.route_write(main), "node_for_write": lambda: router.node_for_write(main),
            "read": scope.read, "node": scope.node, "end": scope.end, "rekey": lambda: scope.rekey("memory"),
            "scope": lambda: router.scope(main, "memory"), "repr": lambda: repr(decision),
            "reason_name": lambda: decision.reason_name, "epoch": lambda: decision.epoch,
            "token": lambda: router.token_issue(main, "memory"), "accept": lambda: scope.accept(token),
            "endpoint": lambda: router.endpoint(main, "shadow-1"), "cluster": lambda: router.cluster("main"),
            "has_cluster": lambda: router.has_cluster("main"), "forced": self.force,
            "record_writes": lambda: router.record_writes(main, []),
        }

    @staticmethod
    def force():
        with pinroute.use_primary():
            return pinroute.is_forced()

    def failing(self):
        router, main, scope = self.router, self.main, self.router.scope(self.main)
        return {
            "no such argument": lambda: router.node_for_read(main, kez="a"),
            "a released buffer": lambda: router.record_write(60, bytearray(b"k")),
            "many released buffers": lambda: router.record_writes(60, [bytearray(b"k"), "l"]),
            "a key among many": lambda: router.record_writes(main, [bytearray(b"k"), None]),
            "bad cluster": lambda: router.scope(60, "k"), "bad key": lambda: router.route_read(main, ""),
            "bad token": lambda: scope.accept(5), "bad name": lambda: router.cluster("a b"),
            "bad class": lambda: pinroute.Router(NOWHERE, no_replica=OSError),
            "bad rekey": lambda: scope.rekey(""), "bad dir": lambda: pinroute.Router(""),
            "instance": lambda: pinroute.Decision(), "pickle": lambda: pickle.dumps(router),
        }

    def references(self):
        things = (pinroute.Router, pinroute.Scope, pinroute.Decision, self.router, None, "shadow-1", "default")
        return [sys.getrefcount(thing) for thing in things]

    OURS = [tracemalloc.Filter(True, path) for path in (__file__, pinroute.__file__)]  # not the fixture's threads

    def kept(self):
        gc.collect()
        traces = tracemalloc.take_snapshot().filter_traces(self.OURS).traces
        return self.references(), sum(trace.size for trace in traces)

    def grown(self, call, times):
        """References and bytes that `times` calls leave behind, after as many that fill what Python keeps for reuse."""
        tracemalloc.start()
        for _ in range(times):
            call()
        references, memory = self.kept()
        for _ in range(times):
            call()
        references_now, memory_now = self.kept()
        tracemalloc.stop()
        return max(now - then for then, now in zip(references, references_now)), memory_now - memory

    def check(self, call, times):
        references, memory = self.grown(call, times)
        self.assertLess(references, times / 10)
        self.assertLess(memory, times)  # less than a byte a call

    def test_a_hundred_thousand_calls_leave_nothing_behind(self):
        for name, call in self.calls().items():
            with self.subTest(name):
                self.check(call, self.CALLS)

    def test_wrong_calls_leave_nothing_behind(self):
        def fails(call):
            with contextlib.suppress(TypeError, ValueError):
                call()

        for name, call in self.failing().items():
            with self.subTest(name):
                self.check(functools.partial(fails, call), 5000)

    def test_a_cycle_through_a_router_is_collected(self):
        class Holder:
            pass

        dead = []
        for _ in range(3):
            holder = Holder()
            holder.mine = pinroute.Router(self.host.dir), self.router.scope(self.main), holder
            dead.append(weakref.ref(holder))
            del holder
        gc.collect()
        self.assertEqual([ref() for ref in dead], [None] * 3)

    def test_nothing_can_be_pickled_or_copied(self):
        scope = self.router.scope(self.main, "k")
        for thing in (self.router, scope, scope.read()):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with self.assertRaisesRegex(TypeError, "pickle"):
                    pickle.dumps(thing, protocol)
            with self.assertRaises(TypeError):
                copy.copy(thing)
            with self.assertRaises(TypeError):
                copy.deepcopy(thing)


if __name__ == "__main__":
    unittest.main()
