// A wallet as the JavaScript clients take one, in front of LND's REST interface.

const { LND_REST_HOST, LND_MACAROON_HEX } = process.env;

export async function payInvoice({ invoice }) {
  const answer = await fetch(`${LND_REST_HOST}/v1/channels/transactions`, {
    method: "POST",
    headers: { "Grpc-Metadata-Macaroon": LND_MACAROON_HEX },
    body: JSON.stringify({ payment_request: invoice }),
  });
  const paid = await answer.json();
  if (!answer.ok || paid.payment_error) throw new Error(paid.message ?? paid.payment_error);
  const fees_paid = Number(paid.payment_route.total_fees_msat);
  return { preimage: Buffer.from(paid.payment_preimage, "base64").toString("hex"), fees_paid };
}
