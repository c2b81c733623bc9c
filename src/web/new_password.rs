//! Another password for the operator: for who says the one that is set, however lately it was said. Every other
//! session ends with it: whoever knew the old password is out.

use http::StatusCode;

use super::claim::stored_password;
use super::password::{Denied, Password};
use super::session::SessionId;
use super::{Caller, Operator, Problem, claim, ledger_fault};
use crate::event::Event;

impl Operator {
    /// Sets `new` for `caller`, who says `current`, and ends every session but `own`.
    ///
    /// # Errors
    /// When nothing was changed: a wrong password, a new one that may not be set, or the same one.
    pub async fn change_password(
        &self,
        caller: &Caller,
        own: Option<&SessionId>,
        current: Password,
        new: Password,
    ) -> Result<(), Problem> {
        let unfit = |text: String| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unfit_password",
                format!("{text} Nothing was changed."),
            )
        };
        let stored = stored_password(self).await.map_err(ledger_fault)?.ok_or_else(|| {
            let detail = "No password is set yet: the one-time link that Tollhouse printed sets one.";
            Problem::new(StatusCode::CONFLICT, "not_claimed", detail)
        })?;
        let same = current.repeats(&new);
        let checked = match caller {
            Caller::Session(visit) => self.passwords.check_again(visit, current, stored).await,
            Caller::Key(_) => self.passwords.check(current, stored).await,
        };
        checked.map_err(denied)?;
        if let Some(own) = own {
            self.sessions.prove(own);
        }
        new.fit().map_err(|why| unfit(why.to_string()))?;
        if same {
            return Err(unfit("That is the password that is set.".to_owned()));
        }
        let hash = self.passwords.hash(new, self.parts.entropy.as_ref()).await.map_err(denied)?;
        claim::set_password(self, &hash).await.map_err(ledger_fault)?;
        self.sessions.end_others(own);
        tracing::info!("the admin password was changed, and other sessions ended");
        self.noted(Event::PasswordChanged).await;
        Ok(())
    }
}

fn denied(why: Denied) -> Problem {
    let problem = |status, code| Problem::new(status, code, format!("{why} Nothing was changed."));
    match why {
        Denied::Wrong => problem(StatusCode::FORBIDDEN, "wrong_password"),
        Denied::Wait { secs } => problem(StatusCode::TOO_MANY_REQUESTS, "too_many_tries").retry_after(secs),
        Denied::Busy => problem(StatusCode::TOO_MANY_REQUESTS, "busy").retry_after(1),
        Denied::Broken => Problem::internal(),
    }
}
