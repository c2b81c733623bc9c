//! The cold storage that is watched: its public keys, what was learnt of it, and the addresses handed out.
//!
//! Invariants: at most one vault is in use; an address is handed out for one deposit only, also when its
//! vault is removed and set again.

use rusqlite::{Connection, Row, params};

use super::page::Page;
use super::plan::asked;
use super::rows::Stored;
use super::{Ledger, StoreError, optional};
use crate::event::Event;
use crate::types::Timestamp;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVault {
    /// The descriptor of deposits.
    pub external: String,
    /// The descriptor of change, if there is one.
    pub internal: Option<String>,
    /// Which form of keys the operator gave.
    pub form: String,
    /// How many addresses without a payment end a search.
    pub gap: u32,
    /// The height from which blocks are looked at.
    pub birthday: Option<u32>,
}

/// A vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRow {
    /// Its number.
    pub id: i64,
    /// What is watched.
    pub vault: NewVault,
    /// When it was set last.
    pub set_at: Timestamp,
    /// When its past was known for the first time.
    pub scanned_at: Option<Timestamp>,
}

/// An address that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAddressRow {
    /// Its number in the descriptor.
    pub index: u32,
    /// The address.
    pub address: String,
    /// What it was handed out for.
    pub deposit: String,
    /// When.
    pub given_at: Timestamp,
}

impl Ledger {
    /// Puts a vault in use, in place of the one that is.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn set_vault(&self, vault: NewVault) -> Result<VaultRow, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let before = in_use(page.connection)?;
            remove(page)?;
            let mut known = page.connection.prepare_cached(
                "SELECT id, gap, birthday, scanned_at FROM vaults
                 WHERE external = ?1 AND ifnull(internal, '') = ifnull(?2, '')",
            )?;
            type Known = (i64, u32, Option<u32>, Option<Stored<Timestamp>>);
            let known: Option<Known> =
                optional(known.query_row(params![vault.external, vault.internal], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                }))?;
            let id = match known {
                Some((id, gap, birthday, scanned_at)) => {
                    // An earlier birthday or a wider gap: what was learnt may miss something.
                    let same = vault.gap <= gap
                        && vault.birthday.is_none_or(|at| birthday.is_some_and(|was| was <= at));
                    let scanned_at = scanned_at.filter(|_| same);
                    if !same {
                        page.connection.execute("DELETE FROM vault_changes WHERE vault = ?1", [id])?;
                    }
                    page.connection.execute(
                        "UPDATE vaults SET removed_at = NULL, form = ?2, gap = ?3, birthday = ?4, set_at = ?5,
                         scanned_at = ?6 WHERE id = ?1",
                        params![id, vault.form, vault.gap, vault.birthday, Stored(page.now), scanned_at],
                    )?;
                    id
                }
                None => {
                    page.connection.execute(
                        "INSERT INTO vaults (external, internal, form, gap, birthday, set_at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        params![
                            vault.external,
                            vault.internal,
                            vault.form,
                            vault.gap,
                            vault.birthday,
                            Stored(page.now)
                        ],
                    )?;
                    page.connection.last_insert_rowid()
                }
            };
            if before.is_none_or(|before| before.id != id) {
                page.log(&Event::VaultSet { vault: id, form: vault.form.clone() })?;
            }
            in_use(page.connection)?.ok_or(StoreError::Corrupt("a vault that was set is missing"))
        };
        self.0.writer.call(work).await
    }

    /// Forgets the vault, but for the addresses that were handed out. Gives whether there was one.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove_vault(&self) -> Result<bool, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let Some(row) = in_use(page.connection)? else { return Ok(false) };
            remove(page)?;
            page.log(&Event::VaultRemoved { vault: row.id })?;
            Ok(true)
        };
        self.0.writer.call(work).await
    }

    /// The vault in use.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn vault(&self) -> Result<Option<VaultRow>, StoreError> {
        self.0.readers.read(in_use).await
    }

    /// What was learnt of a vault, oldest step first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn vault_changes(&self, vault: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query =
                connection.prepare_cached("SELECT change FROM vault_changes WHERE vault = ?1 ORDER BY id")?;
            let changes = query.query_map([vault], |row| row.get(0))?;
            Ok(changes.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(read).await
    }

    /// Notes what was learnt of a vault, with the events that it means; `scanned` when its past is known now. What
    /// was learnt before the vault was set anew is dropped.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_vault(
        &self,
        of: &VaultRow,
        change: Option<Vec<u8>>,
        events: Vec<Event>,
        scanned: bool,
    ) -> Result<(), StoreError> {
        let (vault, set_at) = (of.id, of.set_at);
        let work = move |page: &mut Page<'_>| {
            if !is_in_use(page, vault, set_at)? {
                return Ok(());
            }
            if let Some(change) = change {
                add_change(page, vault, &change)?;
            }
            if scanned {
                page.connection.execute(
                    "UPDATE vaults SET scanned_at = ?2 WHERE id = ?1 AND scanned_at IS NULL",
                    params![vault, Stored(page.now)],
                )?;
            }
            for event in &events {
                if !came_in_a_block_before(page.connection, event)? {
                    page.log(event)?;
                }
            }
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// Replaces all steps of what was learnt by their sum.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn fold_vault(&self, vault: i64, sum: Vec<u8>) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            page.connection.execute("DELETE FROM vault_changes WHERE vault = ?1", [vault])?;
            add_change(page, vault, &sum)
        };
        self.0.writer.call(work).await
    }

    /// Notes an address for a deposit, unless it has one: gives what it has.
    ///
    /// # Errors
    /// When the disk fails, or the address was handed out for another one.
    pub async fn give_vault_address(
        &self,
        of: &VaultRow,
        index: u32,
        address: String,
        deposit: &str,
        change: Option<Vec<u8>>,
    ) -> Result<VaultAddressRow, StoreError> {
        let (vault, set_at, deposit) = (of.id, of.set_at, deposit.to_owned());
        let work = move |page: &mut Page<'_>| {
            if !is_in_use(page, vault, set_at)? {
                return Err(StoreError::Corrupt("the vault was set anew meanwhile"));
            }
            if let Some(change) = change {
                add_change(page, vault, &change)?;
            }
            if let Some(row) = given(page.connection, vault, &deposit)? {
                return Ok(row);
            }
            let row = VaultAddressRow { index, address, deposit, given_at: page.now };
            page.connection.execute(
                "INSERT INTO vault_addresses VALUES (?1, ?2, ?3, ?4, ?5)",
                params![vault, row.index, row.address, row.deposit, Stored(row.given_at)],
            )?;
            page.log(&Event::VaultAddressGiven {
                vault,
                index,
                address: row.address.clone(),
                deposit: row.deposit.clone(),
            })?;
            Ok(row)
        };
        self.0.writer.call(work).await
    }

    /// The address that a deposit has.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn vault_address(
        &self,
        vault: i64,
        deposit: &str,
    ) -> Result<Option<VaultAddressRow>, StoreError> {
        let deposit = deposit.to_owned();
        self.0.readers.read(move |connection| given(connection, vault, &deposit)).await
    }

    /// Number and address of each that was ever handed out, of whichever vault.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn all_vault_addresses(&self) -> Result<Vec<(u32, String)>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT number, address FROM vault_addresses")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(read).await
    }

    /// The addresses that were handed out, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn vault_addresses(&self, vault: i64, limit: u32) -> Result<Vec<VaultAddressRow>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT * FROM vault_addresses WHERE vault = ?1 ORDER BY number DESC LIMIT ?2",
            )?;
            let rows = query.query_map(params![vault, limit], read_address)?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(read).await
    }
}

/// Whether the vault is in use, and was not set anew since.
fn is_in_use(page: &Page<'_>, vault: i64, set_at: Timestamp) -> Result<bool, StoreError> {
    Ok(in_use(page.connection)?.is_some_and(|row| row.id == vault && row.set_at == set_at))
}

/// Whether it tells that coins moved in a block, as one before it did: a block was put in the place of another, and sums
/// of what moved count it once.
fn came_in_a_block_before(connection: &Connection, event: &Event) -> Result<bool, StoreError> {
    let Event::VaultMoved { txid, height: Some(_), .. } = event else { return Ok(false) };
    // The first condition is the index's.
    let sql = "SELECT 1 FROM events WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')
        AND json_extract(body, '$.kind') = 'vault_moved' AND json_extract(body, '$.txid') = ?1
        AND json_extract(body, '$.height') IS NOT NULL";
    Ok(asked(connection, sql)?.exists([txid])?)
}

fn remove(page: &mut Page<'_>) -> Result<(), StoreError> {
    page.connection
        .execute("UPDATE vaults SET removed_at = ?1 WHERE removed_at IS NULL", [Stored(page.now)])?;
    Ok(())
}

fn add_change(page: &mut Page<'_>, vault: i64, change: &[u8]) -> Result<(), StoreError> {
    let mut insert =
        page.connection.prepare_cached("INSERT INTO vault_changes (vault, change) VALUES (?1, ?2)")?;
    insert.execute(params![vault, change])?;
    Ok(())
}

fn in_use(connection: &Connection) -> Result<Option<VaultRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM vaults WHERE removed_at IS NULL")?;
    optional(query.query_row([], |row| {
        let Stored(set_at) = row.get("set_at")?;
        let scanned_at: Option<Stored<Timestamp>> = row.get("scanned_at")?;
        Ok(VaultRow {
            id: row.get("id")?,
            vault: NewVault {
                external: row.get("external")?,
                internal: row.get("internal")?,
                form: row.get("form")?,
                gap: row.get("gap")?,
                birthday: row.get("birthday")?,
            },
            set_at,
            scanned_at: scanned_at.map(|Stored(at)| at),
        })
    }))
}

fn given(connection: &Connection, vault: i64, deposit: &str) -> Result<Option<VaultAddressRow>, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT * FROM vault_addresses WHERE vault = ?1 AND deposit = ?2")?;
    optional(query.query_row(params![vault, deposit], read_address))
}

fn read_address(row: &Row<'_>) -> rusqlite::Result<VaultAddressRow> {
    let Stored(given_at) = row.get("given_at")?;
    let (index, address, deposit) = (row.get("number")?, row.get("address")?, row.get("deposit")?);
    Ok(VaultAddressRow { index, address, deposit, given_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{World, events};

    fn vault(external: &str) -> NewVault {
        let (external, form) = (external.to_owned(), "descriptor".to_owned());
        NewVault { external, internal: None, form, gap: 20, birthday: Some(5) }
    }

    #[tokio::test]
    async fn coins_that_a_reorganisation_takes_back_and_brings_again_are_told_in_a_block_once() {
        let world = World::new();
        let (ledger, _) = world.open();
        let of = ledger.set_vault(vault("a")).await.unwrap();
        for (txid, height) in
            [("a", None), ("a", Some(7)), ("a", None), ("a", Some(8)), ("b", Some(8)), ("a", Some(9))]
        {
            let moved = Event::VaultMoved { txid: txid.to_owned(), received_sat: 5, sent_sat: 0, height };
            ledger.note_vault(&of, None, vec![moved], false).await.unwrap();
        }
        let told: Vec<(String, Option<u32>)> = events(&ledger)
            .await
            .into_iter()
            .filter_map(|event| match event {
                Event::VaultMoved { txid, height, .. } => Some((txid, height)),
                _ => None,
            })
            .collect();
        let [a, b] = ["a", "b"].map(str::to_owned);
        assert_eq!(told, [(a.clone(), None), (a.clone(), Some(7)), (a, None), (b, Some(8))]);
    }

    #[tokio::test]
    async fn one_vault_is_in_use_and_none_of_its_addresses_is_given_twice() {
        let world = World::new();
        let (ledger, _) = world.open();
        assert_eq!(ledger.vault().await.unwrap(), None);
        assert!(!ledger.remove_vault().await.unwrap());
        let a = ledger.set_vault(vault("a")).await.unwrap();
        let given = |row, index, deposit: &'static str| {
            ledger.give_vault_address(row, index, format!("address {index}"), deposit, Some(vec![1]))
        };
        let first = given(&a, 0, "x").await.unwrap();
        assert_eq!(given(&a, 1, "x").await.unwrap(), first, "the same deposit has one address");
        assert!(given(&a, 0, "y").await.is_err(), "another deposit never gets it");
        ledger.note_vault(&a, Some(vec![2]), Vec::new(), true).await.unwrap();
        assert!(ledger.vault().await.unwrap().unwrap().scanned_at.is_some());
        let b = ledger.set_vault(vault("b")).await.unwrap();
        assert_ne!(a.id, b.id);
        ledger.note_vault(&a, Some(vec![3]), Vec::new(), true).await.unwrap();
        assert!(given(&a, 1, "z").await.is_err(), "it is not in use");
        assert_eq!(ledger.vault().await.unwrap(), Some(b.clone()));
        assert_eq!(ledger.vault_addresses(b.id, 9).await.unwrap(), []);
        let again = ledger.set_vault(vault("a")).await.unwrap();
        assert_eq!((again.id, again.scanned_at.is_some()), (a.id, true));
        assert_eq!(ledger.vault_addresses(a.id, 9).await.unwrap(), std::slice::from_ref(&first));
        assert_eq!(ledger.vault_changes(a.id).await.unwrap().len(), 3);
        ledger.fold_vault(a.id, vec![9]).await.unwrap();
        assert_eq!(ledger.vault_changes(a.id).await.unwrap(), [vec![9]]);
        let wider = ledger.set_vault(NewVault { gap: 50, ..vault("a") }).await.unwrap();
        assert_eq!((wider.id, wider.scanned_at), (a.id, None), "what a wider gap may find is looked for");
        assert_eq!(ledger.all_vault_addresses().await.unwrap(), [(0, first.address.clone())]);
        assert!(ledger.remove_vault().await.unwrap());
        assert_eq!(ledger.vault().await.unwrap(), None);
    }
}
