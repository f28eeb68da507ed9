"""The routes of a server, without its operations."""

from typing import Any

from lume_local._http.access.keys import Role
from lume_local._http.routes import Operations, Route, router, routes


class _Api:
    """Stands for operations, which nobody calls."""

    def __getattr__(self, name: str) -> Any:
        async def operation(*_: object) -> None: ...

        return operation


def every_route() -> dict[tuple[str, str], Route]:
    """By method and path, as the router has them."""
    parts: list[Any] = [_Api() for _ in Operations._fields]
    table = routes(Operations(*parts))
    found: dict[Any, Route] = {route.operation: route for route in table}
    return {
        (route.method, resource.canonical): found[route.handler]
        for resource in router(table).resources()
        for route in resource
    }


ROUTES = every_route()
OPEN = {path for (_, path), route in ROUTES.items() if route.role is None}


def needed(method: str, path: str) -> Role:
    """The lowest role that may call this operation, which is not open."""
    return ROUTES[method, path].role or Role.READ
