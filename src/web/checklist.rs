//! What a new operator has to see to before the shop can earn, and keep what it earns.

use schemars::JsonSchema;
use serde::Serialize;

use super::Operator;
use crate::catalog::{Mode, Service};
use crate::store::StoreError;
use crate::types::Timestamp;

/// A node that heard of the chain within this is in step, in seconds.
const IN_STEP_SECS: u64 = 600;
/// The setting that says that nobody wants to see the list any more.
const HIDDEN: &str = "admin.first_steps_hidden";

/// What is said of copies that lie beside the data, wherever the step is told.
const SAME_DISK: &str =
    "Done, but on the data’s own disk: a dead disk takes both. A place on another disk is left to do.";

/// The service that `tollhouse init` writes for an example, in comments: its name, and its upstream.
pub const EXAMPLE: (&str, &str) = ("example", "http://127.0.0.1:9000");

/// One point of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A password opens the operator's page.
    Password,
    /// Somebody proved to have the seed's words.
    Words,
    /// The node is in step with the chain.
    Chain,
    /// A payment can arrive.
    Receive,
    /// Something is on sale for money.
    Service,
    /// Somebody paid.
    Payment,
    /// Copies of the ledger go somewhere.
    Backup,
}

/// How one point stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Point {
    /// Which.
    pub step: Step,
    /// It is seen to.
    pub done: bool,
    /// Money is lost, or never comes, without it; on a network whose coins are worth nothing some can wait for ever.
    pub needed: bool,
}

/// The list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checklist {
    /// Its points, in the order in which they are best seen to.
    pub points: Vec<Point>,
    /// Everything that is needed is done.
    pub done: bool,
    /// What is open, what can wait too; of a sandbox, where nothing is worth keeping, only what is needed.
    pub left: Vec<Step>,
    /// Copies of the ledger go to the disk that the data is on, which takes both when it dies.
    pub same_disk: bool,
    /// The operator asked for the list to be put away.
    pub hidden: bool,
    /// What is on sale is the example of a new configuration file alone, and nothing answered behind it yet.
    pub example: bool,
}

impl Checklist {
    /// Whether `step` is seen to.
    pub fn is_done(&self, step: Step) -> bool {
        self.points.iter().any(|point| point.step == step && point.done)
    }

    /// What is left of a step that is done: copies that lie beside the data are a place, and half of what it is for.
    pub fn but(&self, step: Step) -> Option<&'static str> {
        (step == Step::Backup && self.same_disk && self.is_done(step)).then_some(SAME_DISK)
    }

    /// Whether the list is worth a place on the first page: until nothing is left of it, or until it was put away.
    pub fn is_shown(&self) -> bool {
        (!self.left.is_empty() || self.same_disk) && !self.hidden
    }
}

impl Operator {
    /// How the first steps stand.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn checklist(&self) -> Result<Checklist, StoreError> {
        let parts = &self.parts;
        let node = parts.node.view().await;
        let worth = node.network == bitcoin::Network::Bitcoin.to_string();
        let opens = parts.inbound.openings.as_ref().is_some_and(|openings| openings.view().known);
        let stock = parts.storefront.stock();
        let untouched = |service: &Service| {
            let own = stock.iter().find(|own| own.name == service.name);
            let own = own.and_then(|own| own.spec.upstream.as_deref());
            (service.name.as_str(), own) == (EXAMPLE.0, Some(EXAMPLE.1))
        };
        // The example of a configuration file, taken as it is, is an API of the operator's once something answers there.
        let silent = |service: &Service| {
            let last = parts.checkout.upstreams().last(&service.name);
            untouched(service) && !last.is_some_and(|look| look.well())
        };
        let priced = |service: &Service| {
            let routes = service.routes.iter().map(|route| &route.terms);
            routes.chain([&service.terms]).any(|terms| !terms.rule.is_free())
        };
        let table = parts.storefront.catalog().current();
        let sold: Vec<&Service> = table
            .services()
            .iter()
            .map(AsRef::as_ref)
            .filter(|one| one.mode == Mode::On && priced(one))
            .collect();
        let point = |step, done, needed| Point { step, done, needed };
        let mut points = vec![
            point(Step::Password, super::claim::stored_password(self).await?.is_some(), true),
            point(Step::Words, self.seed.seed().status().verified_at.is_some(), worth),
            point(Step::Chain, in_step(node.running, node.synced_at, parts.clock.now()), true),
            point(Step::Receive, node.receivable_msat >= 1_000 || opens, true),
            point(Step::Service, sold.iter().any(|one| !silent(one)), true),
            point(Step::Payment, !parts.ledger.payments(1, None).await?.is_empty(), true),
        ];
        let backups = parts.backups.standing().await;
        let backed_up = backups.dir.is_some();
        // In the sandbox nothing is worth keeping, and nothing says where.
        let sandbox = !backed_up && self.customer().is_some();
        if !sandbox {
            points.push(point(Step::Backup, backed_up, worth));
        }
        let done = points.iter().all(|point| point.done || !point.needed);
        let open = points.iter().filter(|point| !point.done && (point.needed || !sandbox));
        Ok(Checklist {
            left: open.map(|point| point.step).collect(),
            points,
            done,
            same_disk: backups.apart == Some(false),
            hidden: parts.ledger.setting(HIDDEN).await?.is_some(),
            example: !sold.is_empty() && sold.iter().all(|one| silent(one)),
        })
    }

    /// Puts the list away.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn hide_checklist(&self) -> Result<(), StoreError> {
        self.parts.ledger.set_setting(HIDDEN, "yes").await
    }

    /// Brings it back.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn show_checklist(&self) -> Result<(), StoreError> {
        self.parts.ledger.take_setting(HIDDEN).await.map(|_| ())
    }
}

fn in_step(running: bool, synced_at: Option<u64>, now: Timestamp) -> bool {
    running && synced_at.is_some_and(|at| now.secs().saturating_sub(at) <= IN_STEP_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_silent_or_down_is_not_in_step() {
        let now = Timestamp::from_secs(10_000);
        assert!(in_step(true, Some(9_400), now) && in_step(true, Some(10_001), now));
        assert!(!in_step(true, Some(9_399), now));
        assert!(!in_step(true, None, now) && !in_step(false, Some(10_000), now));
    }

    #[test]
    fn a_point_is_told_by_its_step() {
        let list = list(vec![Step::Backup]);
        assert!(list.is_done(Step::Words) && !list.is_done(Step::Backup));
    }

    fn list(left: Vec<Step>) -> Checklist {
        let point = |step| Point { step, done: !left.contains(&step), needed: false };
        let points = vec![point(Step::Words), point(Step::Backup)];
        Checklist { points, done: true, left, same_disk: false, hidden: false, example: false }
    }

    #[test]
    fn the_list_stays_until_what_can_wait_is_done_too_or_it_was_put_away() {
        assert!(!list(Vec::new()).is_shown());
        assert!(list(vec![Step::Backup]).is_shown(), "all that is needed is done, and this is not");
        assert!(!Checklist { hidden: true, ..list(vec![Step::Backup]) }.is_shown());
        let beside = Checklist { same_disk: true, ..list(Vec::new()) };
        assert!(beside.is_shown(), "of copies beside the data System and `status` speak, too");
        assert!(!Checklist { hidden: true, ..beside }.is_shown());
    }
}
