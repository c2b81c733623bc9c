// mppx's core buys twice. It has no Lightning method of its own: this is the draft's `charge`, in its terms.

import { createHash } from "node:crypto";

import { Credential, Method, Receipt } from "mppx";
import { Mppx } from "mppx/client";
import { z } from "zod/mini";

import { payInvoice } from "./wallet.mjs";

const charge = Method.from({
  name: "lightning",
  intent: "charge",
  schema: {
    credential: { payload: z.object({ preimage: z.string() }) },
    request: z.object({
      amount: z.string(),
      currency: z.string(),
      methodDetails: z.object({ invoice: z.string(), network: z.string(), paymentHash: z.string() }),
    }),
  },
});
const lightning = Method.toClient(charge, {
  async createCredential({ challenge }) {
    const { invoice, paymentHash } = challenge.request.methodDetails;
    const { preimage } = await payInvoice({ invoice });
    const hash = createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex");
    if (hash !== paymentHash) throw new Error("the preimage is not the payment's");
    return Credential.serialize({ challenge, payload: { preimage } });
  },
});
const mppx = Mppx.create({ methods: [lightning], polyfill: false });
const runs = [];
for (let run = 0; run < 2; run += 1) {
  const answer = await mppx.fetch(process.env.URL);
  const receipt = answer.ok ? Receipt.fromResponse(answer) : null;
  runs.push({ status: answer.status, body: await answer.json(), receipt });
}
console.log(JSON.stringify({ runs }));
