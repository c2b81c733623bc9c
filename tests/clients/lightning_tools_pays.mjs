// @getalby/lightning-tools buys twice; DIALECT chooses how: l402, mpp, or any.

import { fetch402, fetchWithL402, fetchWithMpp } from "@getalby/lightning-tools/402";

import { payInvoice } from "./wallet.mjs";

const { DIALECT, URL: url } = process.env;
const buy = { l402: fetchWithL402, mpp: fetchWithMpp, any: fetch402 }[DIALECT];
const runs = [];
for (let run = 0; run < 2; run += 1) {
  const answer = await buy(url, {}, { wallet: { payInvoice } });
  const { paid, amountSat, feesPaidMsat } = answer.payment ?? {};
  const receipt = answer.headers.get("payment-receipt");
  runs.push({ status: answer.status, body: await answer.json(), paid, amountSat, feesPaidMsat, receipt });
}
console.log(JSON.stringify({ runs }));
