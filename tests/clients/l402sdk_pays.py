"""l402sdk buys twice, with its LND backend over REST, and asks it for its balance and its name."""

import importlib.metadata
import json
import os

from l402 import Budget, L402Client, LndRestBackend

place = (os.environ["LND_REST_HOST"], os.environ["LND_MACAROON_HEX"])
client = L402Client.with_lnd_rest(*place, budget=Budget(per_request_max=100, total_max=1_000))
runs = []
for _ in range(2):
    answer = client.get(os.environ["URL"])
    runs.append({"status": answer.status, "body": answer.json(), "paid": answer.paid})
backend = LndRestBackend(*place)
info = backend.get_info()
print(json.dumps({
    "version": importlib.metadata.version("l402sdk"),
    "runs": runs,
    "spent": client.total_spent(),
    "receipts": [[receipt.amount_sats, receipt.fee_sats] for receipt in client.receipts()],
    "balance": backend.get_balance(),
    "info": [info.pubkey, info.alias, info.num_active_channels],
}))
