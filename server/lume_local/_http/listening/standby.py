"""Answers of a server whose state is in use by another server or unavailable."""

import uuid

from aiohttp import web

from lume_local._http.messages import Problem, Reply
from lume_local._http.responses import problem_answer, response_of


class Standby:
    """Answers in place of a `Front`. `Retry-After` makes clients retry; a proxy asks `/readyz` and goes elsewhere."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request."""
        if request.path == "/livez":
            answer = Reply(200, {"status": "ok"})
        else:
            detail = "this server waits for the state, which another one has or which is away: try again"
            answer = problem_answer(Problem("unavailable", detail))
        response = response_of(answer, uuid.uuid4().hex)
        response.force_close()  # so that the next request may reach the other server
        return response
