//! The gateway beside a made-up node, on a real socket, and a customer who pays whatever it asks.

use std::str::FromStr;
use std::sync::Arc;

use lightning_invoice::Bolt11Invoice;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::checkout::Checkout;
use tollhouse::ports::{BoxFuture, Customer, InvoiceAsk, Minter, NotPaid};
use tollhouse::proxy::{ProxyConfig, ProxyState, router};
use tollhouse::types::{Msat, PaymentHash, Preimage};

use crate::gateway::FakeMinter;

/// Serves the gateway until `stop`; where it is reached.
pub(crate) async fn open(checkout: Checkout, tracker: &TaskTracker, stop: &CancellationToken) -> String {
    let state = ProxyState::new(checkout, ProxyConfig::default(), tracker.clone()).expect("TLS settings");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let served = router(state).into_make_service_with_connect_info::<std::net::SocketAddr>();
    let stopped = stop.clone().cancelled_owned();
    tracker.spawn(async move { axum::serve(listener, served).with_graceful_shutdown(stopped).await });
    format!("http://{address}")
}

/// Pays as the node that made the invoice knows how: by its preimage.
pub(crate) struct Purse(pub(crate) Arc<FakeMinter>);

impl Customer for Purse {
    fn pay<'a>(&'a self, bolt11: &'a str) -> BoxFuture<'a, Result<Preimage, NotPaid>> {
        Box::pin(async move {
            let invoice = Bolt11Invoice::from_str(bolt11)
                .map_err(|_| NotPaid::Refused("this is not an invoice".to_owned()))?;
            let hash: &[u8; 32] = invoice.payment_hash().as_ref();
            Ok(self.0.preimage(&PaymentHash::from_bytes(*hash)))
        })
    }

    fn invoice(&self, amount: Msat) -> Result<String, String> {
        let expiry = std::time::Duration::from_secs(3_600);
        let ask = InvoiceAsk { amount, description: "a payout".to_owned(), expiry };
        self.0.mint(&ask).map(|minted| minted.bolt11).map_err(|fault| fault.to_string())
    }

    fn place(&self) -> Option<String> {
        Some(format!("02{}@127.0.0.1:9735", "ee".repeat(32)))
    }
}
