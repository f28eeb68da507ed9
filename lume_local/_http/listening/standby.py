"""What a server answers that waits for the state, which another server has: that it lives, and that it can't help."""

import uuid

from aiohttp import web

from lume_local._http.messages import Problem, Reply
from lume_local._http.responses import problem_answer, response_of


class Standby:
    """Answers in place of a `Front`. `Retry-After` lets clients come again; a proxy asks `/readyz`, and goes on."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request."""
        if request.path == "/livez":
            answer = Reply(200, {"status": "ok"})
        else:
            answer = problem_answer(
                Problem("unavailable", "this server waits for the state, which another one has: try again")
            )
        response = response_of(answer, uuid.uuid4().hex)
        response.force_close()  # so that the next request may reach the other server
        return response
