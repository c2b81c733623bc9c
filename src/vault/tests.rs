//! What a vault hands out, whichever way its keys are written.

use super::*;
use crate::clock::FixedClock;

/// The account m/84'/1'/0' of the test words that everybody knows.
const ACCOUNT: &str = "tpubDC8msFGeGuwnKG9Upg7DM2b4DaRqg3CUZa5g8v2SRQ6K4NSkxUgd7HsL2XVWbVm39yBA4LAxysQAm397zwQSQoQgewGiYZqrA9DsP4zbQ1M";

#[tokio::test]
async fn an_address_is_handed_out_once_however_its_key_is_spelled() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), clock.clone()).unwrap();
    let source = ChainSource::Esplora { url: "http://127.0.0.1:1".to_owned() };
    let sources = Arc::new(Sources::new(source.into()));
    let vault = Vault::open(ledger.clone(), sources, Network::Regtest, clock).await.unwrap();
    let ask = |key: String, form| VaultAsk { key, form, gap: 20, birthday: None };
    let first = vault.set(ask(ACCOUNT.to_owned(), Some(Form::Bip84))).await.unwrap();
    let row = ledger.vault().await.unwrap().unwrap();
    for number in [0, 1] {
        let address = vault.state().open.as_ref().unwrap().watched.address_at(number);
        ledger.give_vault_address(&row, number, address, &format!("deposit {number}"), None).await.unwrap();
    }
    let spelled = format!("wpkh([73c5da0a/84'/1'/0']{ACCOUNT}/<0;1>/*)");
    let again = vault.set(ask(spelled, None)).await.unwrap();
    assert_eq!((&again.first_address, again.next_index), (&first.first_address, 2));
    assert_ne!(ledger.vault().await.unwrap().unwrap().id, row.id, "the ledger takes it for another one");
    // Another form of the key has other addresses, and none of them was given.
    let other = vault.set(ask(format!("tr({ACCOUNT}/<0;1>/*)"), None)).await.unwrap();
    assert_eq!(other.next_index, 0);
}
