//! What is sold: kept in the ledger, changed here alone, and put in force in the catalogue.
//!
//! A change is planned against what is stored, compiled whole, written in one transaction with its
//! events, and only then put in force, all at once: a request that began keeps the table it began with.
//! What a file names is that file's: it is edited there, and nowhere else.
//!
//! Invariants: what is in force is what is stored; a change that cannot be sold changes nothing; a
//! stored service that can be sold no more (a variable of the environment is gone) is closed, and says
//! so, rather than have a broader one sold in its place.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;
use tokio::sync::Mutex;

use crate::catalog::spec::{Spec, SpecFault, clash};
use crate::catalog::{Catalog, CatalogError, RouteTable, Service};
use crate::clock::Clock;
use crate::event::Event;
use crate::pricing::Exchange;
use crate::store::{Ledger, ServiceChange, ServiceRow, StoreError, StoredService};
use crate::types::{Name, Timestamp};
use rises::Dearer;

mod difference;
mod refusing;
mod repriced;
mod rises;
mod stops;

pub use difference::{Change, Difference, Plan};
pub use refusing::TooDear;
pub use repriced::Repriced;
pub use rises::Rise;
pub use stops::{How, Stop};

/// Gives the variables that specs name.
pub type Variables = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Told of every table that comes into force.
pub type Listener = Box<dyn Fn(&RouteTable) + Send + Sync>;

/// One service as it stands.
#[derive(Clone, Debug)]
pub struct Stocked {
    /// Its name.
    pub name: Name,
    /// What it says, with what may be a key: only [`Spec::redacted`] is shown.
    pub spec: Spec,
    /// The file that owns it, if one does.
    pub owner: Option<String>,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// Why it can be sold no more, if that is so.
    pub faults: Vec<SpecFault>,
    service: Service,
}

/// The services that a file names: all that it owns.
#[derive(Clone, Debug)]
pub struct OwnedServices {
    /// The file.
    pub file: PathBuf,
    /// What it says, in order.
    pub specs: Vec<Spec>,
}

/// Whether a change is made, or only shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It is made.
    Real,
    /// It is only shown.
    Dry,
}

/// What is wrong with one service of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFault {
    /// Its number among those that were given, from 0.
    pub index: usize,
    /// Its name, as it was given.
    pub service: String,
    /// What is wrong.
    pub fault: SpecFault,
}

/// Why nothing was changed.
#[derive(Clone, Debug, Error)]
pub enum Refusal {
    /// They cannot be sold.
    #[error("{}", told(.0))]
    Faults(Vec<ServiceFault>),
    /// A file owns it.
    #[error("the service `{service}` belongs to the file {file}: change it there, and send SIGHUP")]
    Owned {
        /// Which.
        service: Name,
        /// Whose.
        file: String,
    },
    /// There is none of this name.
    #[error("there is no service called `{0}`")]
    Unknown(String),
    /// What is stored cannot be read at all.
    #[error("the stored service `{0}` cannot be read")]
    Unreadable(Name),
    /// They cannot be sold side by side.
    #[error(transparent)]
    Clash(#[from] CatalogError),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn told(faults: &[ServiceFault]) -> String {
    let line = |ServiceFault { index, service, fault }: &ServiceFault| {
        let name = if service.is_empty() { format!("services[{index}]") } else { service.clone() };
        let dot = if fault.field.is_empty() { "" } else { "." };
        format!("{name}{dot}{fault}")
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What today's prices are told by.
#[derive(Clone)]
pub struct Market {
    /// The rates.
    pub exchange: Arc<dyn Exchange>,
    /// Now.
    pub clock: Arc<dyn Clock>,
}

/// Keeps, changes and puts in force what is sold.
pub struct Storefront {
    ledger: Ledger,
    market: Market,
    catalog: Arc<Catalog>,
    variables: Variables,
    listener: Listener,
    stock: RwLock<Arc<[Stocked]>>,
    /// One change at a time.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Storefront {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storefront").field("stock", &self.stock().len()).finish_non_exhaustive()
    }
}

impl Storefront {
    /// Puts what is stored in force.
    ///
    /// # Errors
    /// When the ledger fails, or holds what cannot be read.
    pub async fn open(
        ledger: Ledger,
        market: Market,
        variables: Variables,
        listener: Listener,
    ) -> Result<Arc<Storefront>, Refusal> {
        let rows = ledger.services().await?;
        let front = Storefront {
            ledger,
            market,
            catalog: Arc::default(),
            variables,
            listener,
            stock: RwLock::new(Arc::default()),
            turn: Mutex::default(),
        };
        let stock = rows.into_iter().map(|row| front.stocked(row)).collect::<Result<Vec<_>, _>>()?;
        let table = table(&stock)?;
        front.put_in_force(stock, table);
        Ok(Arc::new(front))
    }

    /// The catalogue that is kept in force.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Every service, in the order in which they came.
    pub fn stock(&self) -> Arc<[Stocked]> {
        Arc::clone(&self.stock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds these services, or changes those that there are; by hand.
    ///
    /// # Errors
    /// When a file owns one of them, or they cannot be sold; then nothing is changed.
    pub async fn put(&self, given: Vec<(Spec, Vec<SpecFault>)>, run: Run) -> Result<Plan, Refusal> {
        let _turn = self.turn.lock().await;
        let stock = self.stock();
        let mut after = stock.to_vec();
        let mut faults = Vec::new();
        let names: Vec<String> = given.iter().map(|(spec, _)| spec.name.clone()).collect();
        for (index, (spec, shape)) in given.into_iter().enumerate() {
            // The second would silently take the first one's place.
            if names[..index].contains(&spec.name) {
                let what = "another service here has this name".to_owned();
                let help = "Give each service its own name.".to_owned();
                let fault = SpecFault { field: "name".to_owned(), what, help };
                faults.extend(at(index, &spec.name, vec![fault]));
                continue;
            }
            let place = after.iter().position(|own| own.name.as_str() == spec.name);
            if let Some(Stocked { name: service, owner: Some(file), .. }) = place.map(|at| &after[at]) {
                return Err(Refusal::Owned { service: service.clone(), file: file.clone() });
            }
            let spec = spec.with_secrets_of(place.map(|at| &after[at].spec));
            match self.fresh(spec, shape, None) {
                Ok(fresh) => faults.extend(set(&mut after, fresh, place, index)),
                Err((name, wrong)) => faults.extend(at(index, &name, wrong)),
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults));
        }
        self.carry_out(&stock, after, run).await
    }

    /// Takes a service away; by hand.
    ///
    /// # Errors
    /// When there is none, or a file owns it.
    pub async fn remove(&self, name: &str, run: Run) -> Result<Plan, Refusal> {
        let _turn = self.turn.lock().await;
        let stock = self.stock();
        let found = stock.iter().find(|own| own.name.as_str() == name);
        match found.ok_or_else(|| Refusal::Unknown(name.to_owned()))? {
            Stocked { name: service, owner: Some(file), .. } => {
                Err(Refusal::Owned { service: service.clone(), file: file.clone() })
            }
            _ => {
                let after = stock.iter().filter(|own| own.name.as_str() != name).cloned().collect();
                self.carry_out(&stock, after, run).await
            }
        }
    }

    /// Gives these files, and no others, what they name: what one of them named before and does not
    /// any more is taken away, and what belonged to a file that is not among them belongs to nobody.
    ///
    /// # Errors
    /// When they cannot be sold, or two of them name one service; then nothing is changed. A fault's
    /// number counts through the services of all files.
    pub async fn own(&self, files: Vec<OwnedServices>) -> Result<Plan, Refusal> {
        let _turn = self.turn.lock().await;
        let stock = self.stock();
        let names: Vec<String> = files.iter().map(|file| file.file.display().to_string()).collect();
        let mut after: Vec<Stocked> = Vec::new();
        for own in stock.iter() {
            match &own.owner {
                Some(owner) if names.contains(owner) => {}
                _ => after.push(Stocked { owner: None, ..own.clone() }),
            }
        }
        let specs = files
            .into_iter()
            .zip(&names)
            .flat_map(|(file, name)| file.specs.into_iter().map(move |spec| (spec, name)));
        let mut faults = Vec::new();
        for (index, (spec, file)) in specs.enumerate() {
            let place = after.iter().position(|own| own.name.as_str() == spec.name);
            if let Some(other) = place.and_then(|at| after[at].owner.as_ref()) {
                let what = format!("the file {other} has a service of this name");
                let fault = SpecFault { field: "name".to_owned(), what, help: String::new() };
                faults.push(ServiceFault { index, service: spec.name.clone(), fault });
                continue;
            }
            let stored = stock.iter().find(|own| own.name.as_str() == spec.name).map(|own| &own.spec);
            match self.fresh(spec.with_secrets_of(stored), Vec::new(), Some(file.clone())) {
                Ok(fresh) => faults.extend(set(&mut after, fresh, place, index)),
                Err((name, wrong)) => faults.extend(at(index, &name, wrong)),
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults));
        }
        let plan = self.carry_out(&stock, after, Run::Real).await?;
        // A file is not asked: whoever edits it reads of it here.
        for rise in &plan.rises {
            tracing::warn!(
                service = %rise.service,
                refused_tokens = rise.refused_tokens,
                refused_requests = rise.refused_requests,
                balances = rise.balance_tokens,
                given = rise.given_tokens,
                "a dearer price: what is left of tokens that were sold for less is refused, or buys less"
            );
        }
        Ok(plan)
    }

    /// Writes the way from `before` to `after`, and puts it in force. The caller has the turn.
    async fn carry_out(
        &self,
        before: &[Stocked],
        mut after: Vec<Stocked>,
        run: Run,
    ) -> Result<Plan, Refusal> {
        let table = table(&after)?;
        let stops = Stop::between(&self.catalog.current(), &table);
        let dearer = Dearer::between(&self.catalog.current(), &table);
        let rises = Dearer::count(dearer, &self.ledger, &self.market).await?;
        let plan = Plan { stops, rises, ..Plan::between(before, &after) };
        let changes = changes(before, &after, &plan);
        if run == Run::Dry || changes.is_empty() {
            return Ok(plan);
        }
        self.ledger.change_services(changes).await?;
        for row in self.ledger.services().await? {
            if let Some(own) = after.iter_mut().find(|own| own.name == row.name) {
                own.changed_at = row.changed_at;
            }
        }
        self.put_in_force(after, table);
        Ok(plan)
    }

    fn put_in_force(&self, stock: Vec<Stocked>, table: RouteTable) {
        (self.listener)(&table);
        *self.stock.write().unwrap_or_else(PoisonError::into_inner) = stock.into();
        self.catalog.swap(table);
    }

    /// A service that was not there, or not like this.
    fn fresh(
        &self,
        spec: Spec,
        shape: Vec<SpecFault>,
        owner: Option<String>,
    ) -> Result<Stocked, (String, Vec<SpecFault>)> {
        match spec.compile_after(shape, &self.variables) {
            Ok(service) => Ok(Stocked {
                name: service.name.clone(),
                spec,
                owner,
                changed_at: Timestamp::default(),
                faults: Vec::new(),
                service,
            }),
            Err(faults) => Err((spec.name, faults)),
        }
    }

    /// A stored service, closed when it can be sold no more.
    fn stocked(&self, row: ServiceRow) -> Result<Stocked, Refusal> {
        let ServiceRow { name, stored: StoredService { spec, owner }, changed_at } = row;
        let (spec, shape) = Spec::read(&spec);
        let (service, faults) = match spec.compile_after(shape, &self.variables) {
            Ok(service) => (service, Vec::new()),
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(service = %name, %fault, "a stored service is closed: it cannot be sold any more");
                }
                (spec.closed().ok_or_else(|| Refusal::Unreadable(name.clone()))?, faults)
            }
        };
        Ok(Stocked { name, spec, owner, changed_at, faults, service })
    }
}

fn table(stock: &[Stocked]) -> Result<RouteTable, CatalogError> {
    RouteTable::new(stock.iter().map(|own| own.service.clone()).collect())
}

/// Puts `fresh` at its place, or at the end; a fault when it cannot stand beside the others.
fn set(stock: &mut Vec<Stocked>, fresh: Stocked, place: Option<usize>, index: usize) -> Option<ServiceFault> {
    let others = stock.iter().enumerate().filter(|(at, _)| Some(*at) != place);
    let found = others.map(|(_, own)| own).find_map(|own| clash(&own.service, &fresh.service));
    let fault = found.map(|(field, what)| {
        let help = "Give each service its own name, and its own host or path.".to_owned();
        let fault = SpecFault { field: field.to_owned(), what, help };
        ServiceFault { index, service: fresh.name.to_string(), fault }
    });
    match place {
        Some(at) => stock[at] = fresh,
        None => stock.push(fresh),
    }
    fault
}

fn at(index: usize, service: &str, faults: Vec<SpecFault>) -> Vec<ServiceFault> {
    let one = |fault| ServiceFault { index, service: service.to_owned(), fault };
    faults.into_iter().map(one).collect()
}

/// What the ledger has to write.
fn changes(before: &[Stocked], after: &[Stocked], plan: &Plan) -> Vec<ServiceChange> {
    let event = |name: &Name| {
        let change = plan.changes.iter().find(|change| change.service == *name)?;
        Some(Event::ServiceChanged {
            service: name.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
        })
    };
    let gone = before.iter().filter(|own| !after.iter().any(|other| other.name == own.name));
    let removed =
        gone.map(|own| ServiceChange { name: own.name.clone(), after: None, event: event(&own.name) });
    let kept = after.iter().filter_map(|own| {
        let earlier = before.iter().find(|other| other.name == own.name);
        if earlier.is_some_and(|earlier| earlier.spec == own.spec && earlier.owner == own.owner) {
            return None;
        }
        let stored = StoredService { spec: own.spec.to_json(), owner: own.owner.clone() };
        Some(ServiceChange { name: own.name.clone(), after: Some(stored), event: event(&own.name) })
    });
    removed.chain(kept).collect()
}

#[cfg(test)]
mod tests;
