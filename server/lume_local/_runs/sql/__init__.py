"""The store of the server for its state, written once for `sqlite` and `postgres`: tables, and operations on them.

Callers rely on these guarantees:

- **Atomic.** An operation takes effect as a whole or not at all, and sees one state: no other operation comes between
  its reads and its writes. Between two operations, anything may happen. To write depending on what was read, pass the
  state that was read (`update`), or pause submissions (`submissions_paused`).
- **Failures.** After `StoreFailed` nothing has changed. After `StoreUnavailable` a retry may work; a store on another
  machine may have lost its answer: if it `is_in_doubt`, what was to be written may be there. A cancelled operation
  took effect or did not, never in part.
- **Order.** Every operation sees the effects of those that ended before it began; only the feed may have their
  changes later (`follow`). A change never enters the feed before one that was already returned.
- **Durable.** When `settled` returns, the runs created, the runs ended and the flow versions stored before its call
  survive a power cut. Await it before showing them to clients or acting on them. Stages of runs may be lost.
"""
