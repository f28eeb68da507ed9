"""The store of the server's state, written once for `sqlite` and `postgres`: tables, and operations on them.

Callers rely on these guarantees:

- **Atomic.** An operation takes effect as a whole or not at all, and sees one state: no other operation comes between
  its reads and its writes. Between two operations, anything may happen. For a write that depends on an earlier read,
  pass the state that was read (`update`), or pause submissions (`submissions_paused`).
- **Failures.** After `StoreFailed` nothing has changed. After `StoreUnavailable` a retry may work; the answer of a
  store on another machine may be lost: if the error `is_in_doubt`, the write may have taken effect. A cancelled
  operation took effect completely or not at all.
- **Order.** Every operation sees the effects of earlier ones that had ended before it began; only the feed may show
  changes later (`follow`). A change never enters the feed before one that was already returned.
- **Durable.** When `settled` returns, the runs created, the runs ended and the flow versions stored before its call
  survive a power cut. Await it before showing them to clients or acting on them. Stages of runs may be lost.
"""
