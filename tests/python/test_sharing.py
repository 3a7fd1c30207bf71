#!/usr/bin/env python3
"""test_sharing.py -- threads, children, tasks and greenlets use the module `pinroute` at once, each undisturbed.
ctest: parallel"""
import asyncio
import contextlib
import contextvars
import inspect
import os
import random
import signal
import sys
import threading
import time
import unittest

from extension import Case, NOWHERE, REPLICAS, main_of, no_switching, nodes_of

import greenlet
import pinroute  # found by extension.py
from harness import size


class Ticking:
    """A thread that runs as often as it may; `pause` is the longest that it may not, in seconds."""

    def __init__(self):
        self.pause = 0.0
        self.ended = False
        self.began = threading.Event()
        self.thread = threading.Thread(target=self.tick)

    def tick(self):
        last = time.monotonic()
        while not self.ended:
            now = time.monotonic()
            self.pause = max(self.pause, now - last)
            last = now
            self.began.set()

    def __enter__(self):
        self.thread.start()
        self.began.wait()
        return self

    def __exit__(self, *exception):
        self.ended = True
        self.thread.join()


class Threads(Case):
    timeout_ms = 500

    def test_other_threads_run_while_a_call_waits(self):
        abroad = self.another(host=self.far)
        self.assertEqual(abroad.record_write(main_of(abroad), "k"), pinroute.OK)
        token = abroad.token_issue(main_of(abroad), "k")
        routers = [self.another(self.timeout_ms) for _ in range(5)]
        main, scopes = self.main, [router.scope(main_of(router), "k") for router in routers]
        scopes[2].wrote()
        calls = {"record_write": lambda: routers[0].record_write(main, "k"), "end": scopes[2].end,
                 "record_writes": lambda: routers[4].record_writes(main, ["k", "l"]),
                 "hold": lambda: routers[1].hold(main, "k", 9), "accept": lambda: scopes[3].accept(token)}
        for name, call in calls.items():
            with self.subTest(name), self.host.paused(), Ticking() as others:
                began = time.monotonic()
                self.assertEqual(call(), pinroute.OK if name == "accept" else pinroute.E_UNREACHABLE)
                self.assertGreater(time.monotonic() - began, 0.8 * self.timeout_ms / 1000)
                self.assertLess(others.pause, 0.5 * self.timeout_ms / 1000)

    def test_threads_share_a_router_and_a_scope(self):
        scope, nodes, wrong = self.router.scope(self.main, "shared"), REPLICAS | {"default"}, []

        def play(number):
            chance = random.Random(number)
            mine = f"thread {number}"
            calls = [lambda: scope.node() in nodes, lambda: scope.read().node in nodes, lambda: scope.wrote() is None,
                     lambda: scope.end() == pinroute.OK, lambda: scope.rekey(mine) is None,
                     lambda: scope.force_primary() is None, lambda: scope.unforce() is None,
                     lambda: scope.accept("x") == pinroute.E_TOKEN_FORGED,
                     lambda: self.router.record_write(self.main, mine) == pinroute.OK,
                     lambda: self.router.node_for_read(self.main, mine) in nodes,
                     lambda: self.router.scope(self.main, mine).node() in nodes]
            for _ in range(size(20000, 500)):
                at = chance.randrange(len(calls))
                if not calls[at]():
                    wrong.append((number, at))

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        self.addCleanup(sys.setswitchinterval, before)
        threads = [threading.Thread(target=play, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_who_reads_a_scope_that_another_thread_ends_waits_for_it(self):
        router = self.another(self.timeout_ms)
        scope = router.scope(main_of(router), "ends")
        scope.wrote()
        with self.host.paused():
            thread = threading.Thread(target=scope.end)
            with no_switching():
                thread.start()
            began = time.monotonic()
            self.assertEqual(scope.node(), "default")  # the record failed, so this process pins the key by itself
            self.assertGreater(time.monotonic() - began, 0.5 * self.timeout_ms / 1000)
            thread.join()


class Fork(Case):
    def in_child(self, work):
        """What work() returns in a forked child, as text."""
        answers, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(answer, repr(work()).encode())
            except BaseException as e:
                os.write(answer, repr(e).encode())
            finally:
                os._exit(0)
        os.close(answer)
        guard = threading.Timer(20, os.kill, (pid, signal.SIGKILL))
        guard.start()
        with open(answers, "rb") as f:
            said = f.read().decode()
        os.waitpid(pid, 0)
        guard.cancel()
        return said

    def test_a_child_uses_the_router_that_it_inherited(self):
        scope = self.router.scope(self.main, "inherited")
        scope.node()

        def work():
            scope.wrote()
            return (nodes_of(self.router, self.main) == REPLICAS, scope.end(),
                    self.router.record_write(self.main, "child"), self.assert_recorded("child"))

        self.assertEqual(self.in_child(work), "(True, 0, 0, None)")
        for key in ("child", "inherited"):
            self.assert_recorded(key)

    def test_a_child_closes_what_it_inherited_and_the_parent_goes_on(self):
        router = self.another()
        main = main_of(router)
        self.assertEqual(router.record_write(main, "parent"), pinroute.OK)
        self.assertEqual(self.in_child(lambda: (router.close(), router.node_for_read(main))), "(None, '')")
        self.assertEqual(router.record_write(main, "parent"), pinroute.OK)
        self.assertIn(router.node_for_read(main), REPLICAS)

    def test_a_child_forked_in_the_middle_of_a_call_does_not_wait_for_it(self):
        router = self.another(timeout_ms=5000)
        scope = router.scope(main_of(router), "middle")
        scope.wrote()

        def work():
            return scope.node(), scope.read().reason_name, router.node_for_write(main_of(router)), router.close()

        with self.host.paused():
            thread = threading.Thread(target=scope.end)
            with no_switching():
                thread.start()
            began = time.monotonic()
            self.assertEqual(self.in_child(work), "('default', 'FORCED', 'default', None)")
            self.assertLess(time.monotonic() - began, 4)
        thread.join()


class Context(unittest.TestCase):
    """current_scope() and use_primary(): of this thread, task or greenlet, and of no other."""

    def setUp(self):
        self.router = pinroute.Router(NOWHERE)
        self.scopes = [self.router.scope(self.router.cluster("main"), key) for key in ("a", "b")]
        self.assertFalse(pinroute.is_forced())
        self.assertIsNone(pinroute.current_scope())

    def tearDown(self):
        self.assertFalse(pinroute.is_forced())
        self.assertIsNone(pinroute.current_scope())
        self.router.close()

    def test_scopes_nest_and_restore(self):
        first, second = self.scopes
        with pinroute.scope_context(first) as given:
            self.assertIs(given, first)
            with contextlib.suppress(KeyError), pinroute.scope_context(second):
                self.assertIs(pinroute.current_scope(), second)
                with pinroute.scope_context(None):
                    self.assertIsNone(pinroute.current_scope())
                raise KeyError
            self.assertIs(pinroute.current_scope(), first)

    def test_blocks_three_deep_with_exceptions_restore_exactly(self):
        seen = []
        with pinroute.use_primary():
            try:
                with pinroute.use_primary():
                    try:
                        with pinroute.use_primary():
                            seen.append(pinroute.is_forced())
                            raise KeyError
                    except KeyError:
                        seen.append(pinroute.is_forced())
                        raise ValueError from None
            except ValueError:
                seen.append(pinroute.is_forced())
        self.assertEqual(seen, [True] * 3)
        self.assertFalse(pinroute.is_forced())

    def test_one_instance_nests_in_itself(self):
        always = pinroute.use_primary()
        with always, always:
            with always:
                pass
            self.assertTrue(pinroute.is_forced())
        self.assertFalse(pinroute.is_forced())

    def test_functions_and_methods_are_forced_while_they_run(self):
        class View:
            @pinroute.use_primary()
            def method(self, *args, **kwargs):
                """It says what it does."""
                return pinroute.is_forced(), args, kwargs

            @pinroute.use_primary()
            @classmethod
            def outer_class(cls):
                return cls, pinroute.is_forced()

            @classmethod
            @pinroute.use_primary()
            def inner_class(cls):
                return cls, pinroute.is_forced()

            @pinroute.use_primary()
            @staticmethod
            def static():
                return pinroute.is_forced()

            @pinroute.use_primary()
            def raises(self):
                raise KeyError(pinroute.is_forced())

        self.assertEqual(View().method(1, two=2), (True, (1,), {"two": 2}))
        self.assertEqual((View.method.__name__, View.method.__doc__), ("method", "It says what it does."))
        self.assertEqual((View.outer_class(), View().inner_class(), View.static()), ((View, True), (View, True), True))
        with self.assertRaisesRegex(KeyError, "True"):
            View().raises()

    def test_coroutines_are_forced_across_every_await(self):
        @pinroute.use_primary()
        async def view():
            before = pinroute.is_forced()
            await asyncio.sleep(0)
            return before, pinroute.is_forced()

        def plain():
            return view.__wrapped__()

        async def main():
            said = [await view(), await pinroute.use_primary()(plain)()]
            return said, pinroute.is_forced()

        self.assertTrue(inspect.iscoroutinefunction(view))
        self.assertEqual(asyncio.run(main()), ([(True, True)] * 2, False))

    def test_generators_are_forced_in_their_steps_and_not_between(self):
        @pinroute.use_primary()
        def rows(first):
            try:
                got = yield first, pinroute.is_forced()
                try:
                    yield got, pinroute.is_forced()
                except KeyError:
                    yield "caught", pinroute.is_forced()
                return "returned"
            finally:
                ends.append(pinroute.is_forced())

        ends = []
        self.assertTrue(inspect.isgeneratorfunction(rows))
        steps = rows("first")
        for step, expected in ((lambda: next(steps), "first"), (lambda: steps.send("sent"), "sent"),
                               (lambda: steps.throw(KeyError()), "caught")):
            self.assertEqual(step(), (expected, True))
            self.assertFalse(pinroute.is_forced())
        with self.assertRaises(StopIteration) as stop:
            next(steps)
        self.assertEqual((stop.exception.value, ends), ("returned", [True]))
        closed = rows("first")
        next(closed)
        closed.close()
        self.assertEqual(ends, [True, True])

    def test_async_generators_are_forced_in_their_steps_and_not_between(self):
        @pinroute.use_primary()
        async def rows(first):
            try:
                await asyncio.sleep(0)
                got = yield first, pinroute.is_forced()
                try:
                    yield got, pinroute.is_forced()
                except KeyError:
                    await asyncio.sleep(0)
                    yield "caught", pinroute.is_forced()
            finally:
                await asyncio.sleep(0)
                ends.append(pinroute.is_forced())

        async def main():
            steps = rows("first")
            for step, expected in ((lambda: anext(steps), "first"), (lambda: steps.asend("sent"), "sent"),
                                   (lambda: steps.athrow(KeyError()), "caught")):
                self.assertEqual(await step(), (expected, True))
                self.assertFalse(pinroute.is_forced())
            with self.assertRaises(StopAsyncIteration):
                await anext(steps)
            closed = rows("first")
            await anext(closed)
            await closed.aclose()
            broken = rows("first")
            await anext(broken)
            with self.assertRaises(ZeroDivisionError):
                await broken.athrow(ZeroDivisionError())
            self.assertFalse(pinroute.is_forced())
            return [item async for item in rows("all")]

        ends = []
        self.assertTrue(inspect.isasyncgenfunction(rows))
        self.assertEqual(asyncio.run(main()), [("all", True), (None, True)])
        self.assertEqual(ends, [True] * 4)

    def test_blocks_that_end_out_of_order_leave_the_others_alone(self):
        def holds():
            with pinroute.use_primary():
                yield

        first = holds()
        next(first)
        with pinroute.use_primary():
            first.close()
            self.assertTrue(pinroute.is_forced())

    def test_a_coroutine_that_is_given_up_does_not_unforce_another(self):
        @pinroute.use_primary()
        async def never():
            await asyncio.get_running_loop().create_future()

        async def main():
            lost = contextvars.copy_context()
            coroutine = never()
            lost.run(coroutine.send, None)
            with pinroute.use_primary():
                coroutine.close()
                return pinroute.is_forced()

        self.assertTrue(asyncio.run(main()))

    def test_tasks_never_see_each_others(self):
        async def task(scope, forced, turn, turns):
            with pinroute.scope_context(scope), contextlib.ExitStack() as stack:
                if forced:
                    stack.enter_context(always)
                for _ in range(20):
                    turns[1 - turn].set()
                    await turns[turn].wait()
                    turns[turn].clear()
                    self.assertIs(pinroute.current_scope(), scope)
                    self.assertEqual(pinroute.is_forced(), forced)
                turns[1 - turn].set()

        async def main():
            turns = [asyncio.Event(), asyncio.Event()]
            await asyncio.gather(*(task(scope, forced, turn, turns)
                                   for turn, (scope, forced) in enumerate(zip(self.scopes, (True, False)))))

        always = pinroute.use_primary()
        asyncio.run(main())

    def test_threads_never_see_each_others(self):
        always, meet, wrong = pinroute.use_primary(), threading.Barrier(2, timeout=10), []

        def play(scope, forced):
            for _ in range(20):
                with pinroute.scope_context(scope), always if forced else contextlib.nullcontext():
                    meet.wait()
                    if pinroute.current_scope() is not scope or pinroute.is_forced() != forced:
                        wrong.append((scope, forced))
                    meet.wait()
                if pinroute.current_scope() is not None or pinroute.is_forced():
                    wrong.append("after")

        threads = [threading.Thread(target=play, args=pair) for pair in zip(self.scopes, (True, False))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_greenlets_never_see_each_others(self):
        always, wrong = pinroute.use_primary(), []

        def play(scope, forced):
            with pinroute.scope_context(scope), always if forced else contextlib.nullcontext():
                for _ in range(20):
                    greenlet.getcurrent().parent.switch()
                    if pinroute.current_scope() is not scope or pinroute.is_forced() != forced:
                        wrong.append((scope, forced))

        players = [greenlet.greenlet(play) for _ in self.scopes]
        for player, *arguments in zip(players, self.scopes, (True, False)):
            player.switch(*arguments)
        while not all(player.dead for player in players):
            for player in players:
                player.switch()
                wrong += ["outside"] if pinroute.is_forced() or pinroute.current_scope() else []
        self.assertEqual(wrong, [])

    def test_a_task_inherits_what_its_maker_was_in(self):
        async def look():
            return pinroute.is_forced(), pinroute.current_scope()

        async def main():
            with pinroute.use_primary(), pinroute.scope_context(self.scopes[0]):
                inside = asyncio.create_task(look())
            return await inside

        self.assertEqual(asyncio.run(main()), (True, self.scopes[0]))


if __name__ == "__main__":
    unittest.main()
