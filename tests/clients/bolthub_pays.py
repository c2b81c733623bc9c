"""bolthub buys twice, with its LND wallet."""

import importlib.metadata
import json
import os

from bolthub import L402Client
from bolthub.wallets import LndWallet

wallet = LndWallet(os.environ["LND_REST_HOST"], os.environ["LND_MACAROON_HEX"])
client = L402Client(wallet, max_per_request_sats=100, budget_sats=1_000)
runs = []
for _ in range(2):
    answer = client.get(os.environ["URL"])
    runs.append({"status": answer.status_code, "body": answer.json()})
print(json.dumps({
    "version": importlib.metadata.version("bolthub"),
    "runs": runs,
    "spent": client.total_spent,
}))
