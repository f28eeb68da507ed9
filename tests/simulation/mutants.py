"""Faults that the histories must notice: one line of the library each. Some of them were real once."""

from simulation.mutation import Mutant

ONE_RUN = "at most one run a submission"
OURS = "a run of ours is not taken for another's"
TRUE = "an error that says that there is no run is right"
OWN = "each item has a run of its own"
ITS = "an outcome is of its own item"
COMPLETE = "each item has one outcome"
END = "an outcome shows"
CLEAR = "what was answered, or never sent, is not unknown"
IN_TIME = "a wait ends by its deadline"
LEFT = "nothing left"
A_RUN = "without faults every item has a run"
NOTICED = "ends are noticed in time"
FEW = "requests are few"
PAUSE = "a pause that the server asks for is kept"
ONCE = "each end is reported once"
EACH = "each end is reported:"
LISTED = "each run that was there at the begin is listed"
LIMIT = "a limit is used | refused are those"
RESENT = "with keys it is sent until the deadline"
FOUND = "where a key finds its run no item is lost"
PLACES = "no more than max_active items are under way"
LOST_RUN = f"{ONE_RUN} | {OURS} | {TRUE}"

THROTTLE = "_http/throttle.py"
SENDER, KNOWN, LIFETIME = "_http/sender.py", "_http/known.py", "_http/lifetime.py"
LOST, RETRY, CALL = "_wire/lost_answers.py", "_wire/retry.py", "_wire/call.py"
SERVICE, SUBMIT = "_wire/service.py", "_run/submit.py"
SUBMITTER, LOOK_UP, RUN_MANY = "_batch/submitter.py", "_batch/lookup.py", "_batch/run_many.py"
MONITOR, FEED, SCHEDULER = "_many/monitor.py", "_many/change_feed.py", "_many/scheduler.py"
POLL, WAITER, PAGES = "_run/poll.py", "_run/waiter.py", "_run/pages.py"
BATCHED, DOWNLOAD = "_base/batched.py", "_run/results/download.py"
COMPLETION, OWNED = "_many/completion.py", "_many/owned.py"

KEPT_WITHOUT_WAITING = (
    "        await self._record_sending(item, request, key)\n        return",
    "        asyncio.create_task(self._record_sending(item, request, key))\n        return",
)
TWO_PLACES = "        self.places.release()\n        self.places.release()\n"
RESET, TIMED_OUT = (
    f"return error.reached and type(error) is {negated}ApiConnectionError" for negated in ("not ", "")
)
TAKEN = "            limiter.release()\n            if stream"

MUTANTS = [
    # A lost answer is taken for one that was not lost.
    Mutant(SENDER, "and may_have_started_a_run(error):", "and False:", "journaled plain", LOST_RUN),
    Mutant(LOST, "return error.reached", TIMED_OUT, "plain", LOST_RUN),
    Mutant(LOST, "return error.reached", RESET, "plain", LOST_RUN),
    Mutant(LOST, "return status < 300", "return False", "plain", LOST_RUN),
    Mutant(LOST, "status >= 500 and", "status > 500 and", "plain", LOST_RUN),
    Mutant(
        LOST,
        "InvalidRequestError) and error._of_service:",
        "InvalidRequestError):",
        "plain",
        LOST_RUN,
        first=350,
    ),
    # It is sent again only where no second run can start.
    Mutant(LOST, "if refuses or has_key:", "if True:", "plain", ONE_RUN),
    Mutant(LOST, "Then.ASK if has_key is None", "Then.SEND if has_key is None", "plain", ONE_RUN),
    Mutant(SENDER, "Then.SEND if self.known.promises.keep(age)", "Then.SEND if True", "plain", ONE_RUN),
    Mutant(SERVICE, "USABLE = 0.9", "USABLE = 90", "journaled", ONE_RUN, first=194),
    # So it is with services that promise something else: nothing, a key for a time, a key that is the run's name.
    Mutant(SERVICE, "return self.refuses_sources and not", "return not", "keyless", ONE_RUN),
    Mutant(SERVICE, "self.kept * USABLE", "self.kept * 1e9", "keyed", ONE_RUN, first=321),
    Mutant(SUBMITTER, "state.lost and by_key and not has_key", "False", "keyed", ONE_RUN, first=321),
    Mutant(SUBMITTER, "if pause is None and sender.clock.now() < until", "if False", "named", RESENT),
    Mutant(SUBMITTER, "(finds_keys and age is not None and age >= SETTLED)", "False", "keyed", FOUND),
    Mutant(
        SUBMITTER, "promises.kept is not None and promises.keep(known_age) is True", "False", "named", FOUND
    ),
    Mutant(LOOK_UP, "if service.find is not None:", "if False:", "keyed", FOUND),
    Mutant(
        SUBMIT, "= sender.service.promises.names_runs and duplicate.run_id == key", "= False", "named", TRUE
    ),
    Mutant(SUBMIT, "RunNotFoundError) and caught._of_service", "RunNotFoundError)", "named", TRUE, first=186),
    Mutant(
        SUBMIT,
        "if not state.lost and not has_our_name:\n            raise",
        "if not state.lost:\n            raise",
        "named",
        TRUE,
        first=1093,
    ),
    # A run of ours is known by its time.
    Mutant(LOST, "// unit * unit", "", "journaled", f"{A_RUN} | {OURS}", first=1979),
    Mutant(SENDER, "submits is not None and state.first_sent is None", "submits is not None", "plain", OURS),
    Mutant(SENDER, "if date is None else", "if True else", "killed left_calmly", f"{A_RUN} | {OURS} | {ITS}"),
    # The journal knows what may have been sent, and what became of it.
    Mutant(
        SUBMITTER,
        "await self._record(Journal.sending,",
        "self._recorder.note(Journal.sending,",
        "journaled",
        LOST_RUN,
    ),
    Mutant(SUBMITTER, *KEPT_WITHOUT_WAITING, "journaled", f"{LOST_RUN} | damaged"),
    Mutant(
        SUBMITTER,
        "self._recorder.note(Journal.withdraw, item, key)",
        "pass",
        "left_calmly",
        CLEAR,
        first=2038,
    ),
    Mutant(
        SUBMITTER,
        "await self._record(Journal.submitted, item, done.record.id, reused=done.reused)",
        "pass",
        "left_early",
        f"{CLEAR} | {OWN}",
        first=239,
    ),
    Mutant(
        SUBMITTER,
        "return  # stays SENDING: the next start finds out",
        "pass",
        "journaled",
        LOST_RUN,
        first=63,
    ),
    Mutant(
        RUN_MANY,
        "await self._submitter.end(item, outcome)",
        "pass",
        "journaled",
        "a journal that is complete needs no request",
    ),
    Mutant(
        SUBMITTER,
        "again = entry is not None and entry.state is Kind.ENDED",
        "again = False",
        "retried",
        "a retry is a new run",
    ),
    Mutant(
        LOOK_UP,
        "_NO_LIST = (404, 405, 501)",
        "_NO_LIST = ()",
        "killed left_calmly",
        f"{A_RUN} | {CLEAR}",
        first=509,
    ),
    # Items that are alike.
    Mutant(LOOK_UP, "self.claim(new[0].id)", "pass", "killed left_calmly", OWN, first=194),
    Mutant(LOOK_UP, " or run_id in (self._known_runs or ())", "", "journaled left_early", OWN, first=194),
    # Places, slots, and what else must be given back.
    Mutant(RUN_MANY, "        self.places.release()\n", "", "plain", COMPLETE),
    Mutant(RUN_MANY, "        self.places.release()\n", TWO_PLACES, "plain", PLACES),
    Mutant(SENDER, TAKEN, "            if stream", "plain", LEFT),
    Mutant(SENDER, "self.known.long_polls -= long_poll", "pass", "plain", LEFT),
    Mutant(RUN_MANY, "        await recorder.aclose()", "        pass", "left_early", LEFT),
    Mutant(OWNED, "        await until_done(task)", "        pass", "left_early", LEFT),
    Mutant(LIFETIME, "self.forget(ring)", "pass", "plain", LEFT),
    Mutant(RUN_MANY, "sender.on_silence.discard(listen)", "pass", "plain", LEFT),
    # Deadlines.
    # Ends are noticed, with few requests.
    Mutant(MONITOR, "watched.ended |= change.is_end", "pass", "plain", f"{END} | {NOTICED}"),
    Mutant(MONITOR, "watched.born_after > self._fed_since and", "", "plain", NOTICED, first=277),
    Mutant(KNOWN, "GRACE = 10.0", "GRACE = 0.0", "plain", A_RUN),
    # Pauses.
    # Waits of one run.
    Mutant(WAITER, "LAST_POLL if last else left", "None if last else left", "following", IN_TIME),
    Mutant(WAITER, "delay = min(delay, left)", "pass", "following", IN_TIME),
    Mutant(WAITER, "await self.clock.sleep(self.not_before)", "pass", "following", PAUSE),
    Mutant(POLL, "if left is not None and left <= LAST_POLL:", "if False:", "following", IN_TIME),
    Mutant(
        POLL,
        "            self._record = polled.record\n",
        "",
        "following",
        "a wait reports | every task | AssertionError",
    ),
    Mutant(
        POLL,
        "etag=known.etag if known else None",
        "etag='\"3\"' if known else None",
        "following",
        NOTICED,
        first=1783,
    ),
    Mutant(
        POLL,
        "self._shown, self._ended = record.status, record.is_terminal",
        "self._ended = record.is_terminal",
        "following",
        f"a change is reported once | {IN_TIME}",
    ),
    # A crowd before few connections.
    Mutant(
        SENDER, "self.release()  # the slot arrived together with the cancellation", "pass", "crowded", LEFT
    ),
    # Monitors.
    Mutant(
        MONITOR,
        "            del self._watched[watched.run.id]",
        "            pass",
        "monitored",
        f"{ONCE} | {EACH}",
    ),
    Mutant(
        MONITOR,
        "or watched.ended or watched.polled > asked:",
        "or watched.ended:",
        "monitored",
        "changes are reported in their order",
    ),
    Mutant(
        COMPLETION,
        "for _ in range(waiting.pop(event.run.id, 0))",
        "for _ in range(min(1, waiting.pop(event.run.id, 0)))",
        "monitored",
        "each run has one outcome",
    ),
    Mutant(PAGES, "if left == 0 or not page.cursor:", "if True:", "listed", LISTED),
    # A limit of the server.
    Mutant(THROTTLE, "self.rate = min(rate + more, self._quota)", "pass", "limited", LIMIT),
    Mutant(
        THROTTLE,
        "refusals, answers = (FEW, FEW) if limited else (SOME, ENOUGH)",
        "refusals, answers = (900, 900)",
        "limited",
        LIMIT,
    ),
    # Real once: a feed that repeats, a mixed download, a list that is missing, an input that goes on.
    Mutant(
        FEED,
        "has_news = self._page and self._page != before",
        "has_news = self._page",
        "plain",
        FEW,
        first=1502,
    ),
    Mutant(
        MONITOR,
        "        if change.is_end:\n            self._feed",
        "        if True:\n            self._feed",
        "plain",
        NOTICED,
        first=2648,
    ),
    Mutant(
        DOWNLOAD,
        "self.size and (not continues or self._etag is None or differs)",
        "self.size and not continues",
        "downloaded",
        "what is downloaded was stored so: not a mixture",
    ),
    Mutant(
        LOOK_UP, "error.status_code in _NO_LIST and not self._has_list", "False", "killed", A_RUN, first=509
    ),
    Mutant(BATCHED, "                await items.aclose()", "                pass", "left_early", LEFT),
    # Faults that the histories have found.
    Mutant(
        MONITOR,
        "            watched.not_before = self._sender.clock.now() + quiet  #",
        "            pass  #",
        "plain",
        PAUSE,
    ),
    Mutant(
        MONITOR,
        "except ClosedResourceError:  # the deadline",
        "except EndOfStream:  # the deadline",
        "monitored",
        "ClosedResourceError",
        first=1636,
    ),
]
