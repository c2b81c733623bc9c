//! A service on trial: everything passes, and what it would have cost is counted. A service that is off.

use tollhouse::catalog::Mode;

use super::upstream::Origin;
use super::{TestGate, service};

#[tokio::test]
async fn a_shadow_lets_everything_through_and_counts() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let mut shadow = service(&origin);
    shadow.mode = Mode::Shadow;
    gate.sell(vec![shadow]);
    for (path, lines) in [
        ("/ok", ""),
        ("/dear/ok", ""),
        ("/free/ok", ""),
        ("/ok", "Authorization: L402 junk\r\n"),
        ("/500", ""),
    ] {
        let reply = gate.get(path, lines).await;
        assert_eq!(reply.status, if path == "/500" { 500 } else { 200 }, "{path}");
        assert_eq!(reply.header("x-tollhouse-unit"), None);
    }
    // A good token is left alone.
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.units(&credential).await, (0, 0, 0));
    assert_eq!((gate.minter.minted(), origin.hits()), (1, 6));
    // It is good when the service is sold again.
    gate.sell(vec![service(&origin)]);
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    gate.audited().await;
}

#[tokio::test]
async fn what_is_off_is_not_there() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    // Another service behind it would not do: its price and its upstream are others.
    let (mut off, mut wide) = (service(&origin), service(&origin));
    off.mode = Mode::Off;
    off.host = Some("api.example".to_owned());
    wide.name = "wide".parse().expect("a name");
    gate.sell(vec![off, wide]);
    for lines in ["", &credential.line()] {
        let reply = gate.get("/ok", lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "no_such_route"));
    }
    assert_eq!(origin.hits(), 0);
    gate.sell(vec![service(&origin)]);
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
}
