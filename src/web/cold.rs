//! The vault as the operator is told of it, on a page or through the API.

use http::StatusCode;

use super::{Operator, Problem};
use crate::ports::NoColdAddress;
use crate::vault::VaultFault;

impl Operator {
    /// From which block on a vault is looked for: a height as text, `now`, or nothing.
    ///
    /// # Errors
    /// When it is neither, or the node does not know the chain's height.
    pub async fn birthday(&self, said: Option<&str>) -> Result<Option<u32>, Problem> {
        let said = match said {
            None => return Ok(None),
            Some("now") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Problem::bad_request("bad_birthday", "From block is the height of a block, or now.")
            })?),
        };
        if let Some(height) = said {
            return Ok(Some(height));
        }
        let view = self.parts.node.view().await;
        if view.running && view.block_height > 0 {
            return Ok(Some(view.block_height));
        }
        let detail =
            "The node does not know the chain's height yet: try again when it runs, or say a height.";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "node_not_ready", detail))
    }
}

/// Why the vault did not do it.
pub fn vault_problem(fault: VaultFault) -> Problem {
    let (status, code) = match &fault {
        VaultFault::NotSet => (StatusCode::NOT_FOUND, "no_vault"),
        VaultFault::Key(fault) => (StatusCode::UNPROCESSABLE_ENTITY, fault.code()),
        VaultFault::Gap => (StatusCode::UNPROCESSABLE_ENTITY, "bad_gap"),
        VaultFault::BirthdayNeeded => (StatusCode::UNPROCESSABLE_ENTITY, "birthday_needed"),
        VaultFault::Chain(_) | VaultFault::Damaged(_) | VaultFault::Store(_) => {
            tracing::error!(%fault, "the vault could not answer the operator");
            return Problem::internal();
        }
    };
    Problem::new(status, code, format!("{}.", capital(&fault.to_string())))
}

/// Why the vault gave no address.
pub fn no_address(none: NoColdAddress) -> Problem {
    let status = match none {
        NoColdAddress::NotSet => StatusCode::NOT_FOUND,
        NoColdAddress::NotSynced => StatusCode::SERVICE_UNAVAILABLE,
        NoColdAddress::Gap { .. } | NoColdAddress::Failed(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, none.code(), format!("{}.", capital(&none.to_string())))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
