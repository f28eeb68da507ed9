"""The server for the other examples: an embedded one, on this machine, with the flows of this folder.

    python examples/server.py [PORT]       # Ctrl-C ends it; its data is in .lume/

Sources may be in the folder that it is started in; paths are relative to it. It prints the settings for another
terminal. The key and the secret are effectively public: use them on your own machine only.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

import lume_local

FLOWS = Path(__file__).resolve().parent / "flows"
API_KEY, WEBHOOK_SECRET = "local-key", "local-secret"


async def main(port: int) -> None:
    # A fixed port and key: the settings in the other terminal stay valid when the server is restarted.
    async with lume_local.serve(
        flows=FLOWS,
        port=port,
        api_key=API_KEY,
        webhook_secret=WEBHOOK_SECRET,
        webhook_hosts=["127.0.0.1:8000"],  # webhook_receiver.py
    ) as server:
        print(
            f"export LUME_BASE_URL={server.base_url} LUME_API_KEY={API_KEY} "
            f"LUME_WEBHOOK_SECRET={WEBHOOK_SECRET}",
            flush=True,
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
