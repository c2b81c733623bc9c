//! Finding grants among many: by what stands on a bill, newest first.

use rusqlite::{Connection, ToSql};

use super::grants::{self, GrantRow};
use super::plan::asked;
use super::rows::{Stored, known_name};
use super::{Ledger, StoreError};
use crate::types::{Kind, Name};

/// Which grants to list. What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// The beginning of the payment hash in hexadecimal, or a part of the label.
    pub text: Option<String>,
    /// The service.
    pub service: Option<Name>,
    /// What was sold.
    pub kind: Option<Kind>,
    /// Where it stands.
    pub state: Option<GrantState>,
}

/// Where a grant stands, as it can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Something may still be bought with it.
    Live,
    /// Nothing more can: it is used up, or its time is over.
    Over,
    /// A request is on its way.
    Held,
    /// The operator took it back.
    Revoked,
}

impl GrantState {
    /// Every state, by its word.
    pub const ALL: [(&'static str, GrantState); 4] = [
        ("live", GrantState::Live),
        ("over", GrantState::Over),
        ("held", GrantState::Held),
        ("revoked", GrantState::Revoked),
    ];

    const fn condition(self) -> &'static str {
        match self {
            GrantState::Live => {
                "over_at IS NULL AND (exhausted_at IS NULL OR budget IS NOT NULL OR open > 0 OR left_ > 0)"
            }
            GrantState::Over => {
                "(over_at IS NOT NULL
                    OR (exhausted_at IS NOT NULL AND budget IS NULL AND open = 0 AND left_ = 0))"
            }
            GrantState::Held => "over_at IS NULL AND open > 0",
            GrantState::Revoked => "barred",
        }
    }
}

impl Ledger {
    /// The newest grants that pass `filter`, newest first: at most `limit`, and only those before number
    /// `before`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn grants(
        &self,
        filter: GrantFilter,
        limit: u32,
        before: Option<i64>,
    ) -> Result<Vec<GrantRow>, StoreError> {
        self.0.readers.read(move |connection| list(connection, &filter, limit, before)).await
    }
}

fn list(
    connection: &Connection,
    filter: &GrantFilter,
    limit: u32,
    before: Option<i64>,
) -> Result<Vec<GrantRow>, StoreError> {
    let before = before.unwrap_or(i64::MAX);
    let mut conditions = vec!["id < :before".to_owned()];
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":before", &before), (":limit", &limit)];

    let service = match filter.service.as_ref().map(|name| known_name(connection, name)).transpose()? {
        Some(None) => return Ok(Vec::new()),
        known => known.flatten(),
    };
    if let Some(service) = &service {
        conditions.push("service = :service".to_owned());
        values.push((":service", service));
    }
    let kind = filter.kind.map(Stored);
    if let Some(kind) = &kind {
        conditions.push("kind = :kind".to_owned());
        values.push((":kind", kind));
    }
    conditions.extend(filter.state.map(|state| state.condition().to_owned()));

    let text = filter.text.as_deref().unwrap_or_default();
    let (range, label) = (hash_range(text), text.to_lowercase());
    // The few tokens with a label lie in an index of their own.
    let labelled = "SELECT id FROM grants WHERE label >= '' AND instr(lower(label), :label) > 0";
    if let Some((first, last)) = &range {
        let hashed = "SELECT id FROM grants WHERE payment_hash BETWEEN :first AND :last";
        conditions.push(format!("id IN ({hashed} UNION ALL {labelled})"));
        values.extend([(":first", first as &dyn ToSql), (":last", last), (":label", &label)]);
    } else if !text.is_empty() {
        conditions.push(format!("id IN ({labelled})"));
        values.push((":label", &label));
    }

    let order = "ORDER BY id DESC LIMIT :limit";
    let sql = format!("SELECT * FROM grants_named WHERE {} {order}", conditions.join(" AND "));
    let mut query = asked(connection, &sql)?;
    let rows = query.query_map(values.as_slice(), grants::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The first and the last hash that begin with these hexadecimal digits.
fn hash_range(digits: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    if digits.is_empty() || digits.len() > 64 {
        return None;
    }
    let padded = |with: &str| hex::decode(format!("{digits}{}", with.repeat(64 - digits.len()))).ok();
    Some((padded("0")?, padded("f")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_a_hash_is_a_range() {
        let (first, last) = hash_range("aBc").unwrap();
        assert_eq!((first[..2].to_vec(), last[..2].to_vec()), (vec![0xab, 0xc0], vec![0xab, 0xcf]));
        assert_eq!((first.len(), last.len()), (32, 32));
        assert_eq!((hash_range(""), hash_range("xyz"), hash_range(&"a".repeat(65))), (None, None, None));
        assert!(hash_range("é").is_none());
    }
}
