"""Assets of a task that has ended: an `AssetAlias` gets an asset per location of mapped rows."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from lume_airflow._compat import Asset, AssetAlias, Context


def emit(outlets: Iterable[Any], context: Context, result: dict[str, Any]) -> None:
    """Report the updated assets: an alias gets an asset per location; all get the counts as their extra."""
    events = context.get("outlet_events") if outlets else None
    if events is None:
        return
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            for place in places(result):
                events[outlet].add(Asset(asset_uri(place)), extra=_extra(result))
        elif isinstance(outlet, Asset):
            events[outlet].extra.update(_extra(result))


def places(result: dict[str, Any]) -> list[str]:
    """Return the locations of the mapped rows."""
    several: list[str] | None = result.get("mapped_locations")
    if several is not None:
        return several
    return [result["mapped_location"]] if result["mapped_location"] else []


def asset_uri(place: str) -> str:
    """Return the URI of a location, which may be a path."""
    return place if "://" in place else PurePosixPath("/", place).as_uri()


def _extra(result: dict[str, Any]) -> dict[str, Any]:
    kept = ("run_id", "rows_read", "rows_mapped", "rows_rejected")
    return {f"lume_{name}": result[name] for name in kept if name in result}
