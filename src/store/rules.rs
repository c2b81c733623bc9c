//! The operator's rules, as they were given to the admin API.

use rusqlite::params;
use serde_json::Value;

use super::rows::Stored;
use super::{Ledger, StoreError, optional};

impl Ledger {
    /// What a rule was told; `None` when it is off.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn rule(&self, name: &'static str) -> Result<Option<Value>, StoreError> {
        let read = self.0.readers.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT terms FROM rules WHERE name = ?1")?;
            optional(query.query_row([name], |row| row.get::<_, String>(0)))
        });
        let corrupt = |_| StoreError::Corrupt("a rule that is not JSON");
        read.await?.map(|terms| serde_json::from_str(&terms).map_err(corrupt)).transpose()
    }

    /// Gives a rule new terms, or switches it off.
    ///
    /// # Errors
    /// When the disk fails; nothing changed then.
    pub async fn set_rule(&self, name: &'static str, terms: Option<Value>) -> Result<(), StoreError> {
        let work = move |page: &mut super::Page<'_>| {
            match terms {
                Some(terms) => page
                    .connection
                    .prepare_cached(
                        "INSERT INTO rules (name, terms, changed_at) VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET terms = ?2, changed_at = ?3",
                    )?
                    .execute(params![name, terms.to_string(), Stored(page.now)])?,
                None => {
                    page.connection.prepare_cached("DELETE FROM rules WHERE name = ?1")?.execute([name])?
                }
            };
            Ok(())
        };
        self.0.writer.call(work).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::store::tests::World;

    #[tokio::test]
    async fn a_rule_is_off_until_it_is_told() {
        let world = World::new();
        let (ledger, _) = world.open();
        assert_eq!(ledger.rule("pay_out").await.unwrap(), None);
        for terms in [json!({ "below_sat": 1 }), json!({ "below_sat": 2 })] {
            ledger.set_rule("pay_out", Some(terms.clone())).await.unwrap();
            assert_eq!(ledger.rule("pay_out").await.unwrap(), Some(terms));
        }
        ledger.set_rule("pay_out", None).await.unwrap();
        assert_eq!(ledger.rule("pay_out").await.unwrap(), None);
    }
}
