//! The terms of a service or of a route as a form has them: text in fields, and the spec that it says.
//!
//! Invariant: what the form shows of a spec and is sent back unchanged says the same spec again.

use super::offer_rows::OfferRow;
use super::typed::{count, lines, said, words};
use crate::catalog::spec::{FreeSpec, OfferSpec, PriceSpec, SpecFault, TermsSpec, TierSpec, UpTo};
use crate::ui::form::Fields;

/// How a request is priced, as the form's choices name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pricing {
    /// As the service says; of a route only.
    Inherited,
    /// One price.
    #[default]
    Fixed,
    /// Nothing.
    Free,
    /// By how many requests the token was used for.
    Requests,
    /// By the bytes of the answers.
    Bytes,
    /// By an expression.
    Formula,
}

impl Pricing {
    const WORDS: [(&'static str, Pricing); 6] = [
        ("inherited", Pricing::Inherited),
        ("fixed", Pricing::Fixed),
        ("free", Pricing::Free),
        ("requests", Pricing::Requests),
        ("bytes", Pricing::Bytes),
        ("formula", Pricing::Formula),
    ];

    fn of(text: &str) -> Pricing {
        Pricing::WORDS.into_iter().find(|(word, _)| *word == text).map_or(Pricing::Fixed, |(_, own)| own)
    }

    /// Whether the form's word for it is `word`.
    pub(super) fn is(self, word: &str) -> bool {
        Pricing::of(word) == self
    }
}

/// One tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TierRow {
    pub(super) up_to: String,
    pub(super) price: String,
}

/// The terms as they stand in a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TermsDraft {
    pub(super) pricing: Pricing,
    pub(super) amount: String,
    pub(super) fallback: String,
    pub(super) formula: String,
    pub(super) ceiling: String,
    pub(super) zero: bool,
    pub(super) tiers: Vec<TierRow>,
    pub(super) per: String,
    pub(super) byte_ceiling: String,
    pub(super) offers: Vec<OfferRow>,
    pub(super) free_requests: String,
    pub(super) free_per: String,
    pub(super) free_by: String,
    pub(super) restore_on: String,
    pub(super) invoice_expiry: String,
    pub(super) token_life: String,
}

/// More than any list has.
const MOST_ROWS: usize = 64;
/// Empty steps below those that say something.
const SPARE: usize = 2;

impl TermsDraft {
    /// What a service's form shows of `terms`: single requests, where nothing is said of offers.
    pub(super) fn of_service(terms: &TermsSpec) -> TermsDraft {
        let mut draft = TermsDraft::of(terms);
        if terms.offers.is_none() {
            draft.offers = vec![OfferRow::request()];
        }
        if draft.pricing == Pricing::Inherited {
            draft.pricing = Pricing::Fixed;
        }
        draft
    }

    /// What a route's form shows of `terms`: nothing, where it is as its service.
    pub(super) fn of(terms: &TermsSpec) -> TermsDraft {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let free = terms.free.as_ref();
        let mut draft = TermsDraft {
            pricing: Pricing::Inherited,
            fallback: text(&terms.fallback),
            per: text(&terms.per),
            byte_ceiling: text(&terms.ceiling),
            offers: terms.offers.iter().flatten().map(OfferRow::of).collect(),
            free_requests: free.map(|free| free.requests.to_string()).unwrap_or_default(),
            free_per: free.and_then(|free| free.per.clone()).unwrap_or_default(),
            free_by: free.and_then(|free| free.by.clone()).unwrap_or_default(),
            restore_on: terms.restore_on.as_deref().unwrap_or_default().join(", "),
            invoice_expiry: text(&terms.invoice_expiry),
            token_life: text(&terms.token_life),
            ..TermsDraft::default()
        };
        match &terms.price {
            None => {}
            Some(PriceSpec::Text(price)) if price == "free" => draft.pricing = Pricing::Free,
            Some(PriceSpec::Text(price)) => {
                (draft.pricing, draft.amount) = (Pricing::Fixed, price.clone());
            }
            Some(PriceSpec::Formula { formula, ceiling, fallback, zero }) => {
                (draft.pricing, draft.formula) = (Pricing::Formula, formula.clone());
                draft.ceiling = text(ceiling);
                draft.zero = zero.as_deref() == Some("allow");
                if let Some(inner) = fallback {
                    draft.fallback.clone_from(inner);
                }
            }
        }
        if let Some(tiers) = &terms.tiers {
            let bytes = terms.per.is_some() || tiers.iter().any(|t| matches!(t.up_to, Some(UpTo::Bytes(_))));
            draft.pricing = if bytes { Pricing::Bytes } else { Pricing::Requests };
            draft.tiers = tiers.iter().map(TierRow::of).collect();
        }
        draft
    }

    /// What was typed.
    pub(super) fn typed(fields: &Fields) -> TermsDraft {
        let text = |name: &str| lines(fields.text(name));
        let rows = (0..MOST_ROWS).map(|n| TierRow {
            up_to: text(&format!("tier{n}_up_to")),
            price: text(&format!("tier{n}_price")),
        });
        TermsDraft {
            pricing: Pricing::of(fields.text("pricing")),
            amount: text("amount"),
            fallback: text("fallback"),
            formula: text("formula"),
            ceiling: text("ceiling"),
            zero: fields.ticked("zero"),
            tiers: rows.filter(|row| *row != TierRow::default()).collect(),
            per: text("per"),
            byte_ceiling: text("byte_ceiling"),
            offers: (0..MOST_ROWS).filter_map(|n| OfferRow::typed(fields, n)).collect(),
            free_requests: text("free_requests"),
            free_per: text("free_per"),
            free_by: text("free_by"),
            restore_on: text("restore_on"),
            invoice_expiry: text("invoice_expiry"),
            token_life: text("token_life"),
        }
    }

    /// The tiers, and empty ones to fill in.
    pub(super) fn tier_rows(&self) -> Vec<(usize, TierRow)> {
        let spare = std::iter::repeat_n(TierRow::default(), SPARE);
        self.tiers.iter().cloned().chain(spare).enumerate().collect()
    }

    /// The offers, and an empty one to fill in: once it is saved, there is room for the next.
    pub(super) fn offer_rows(&self) -> Vec<(usize, OfferRow)> {
        let spare = [OfferRow::default()];
        self.offers.iter().cloned().chain(spare).enumerate().collect()
    }

    /// The terms that it says, where `base` is what it was made of, and what could not be read of it.
    pub(super) fn terms(&self, base: &TermsSpec) -> (TermsSpec, Vec<SpecFault>) {
        let mut faults = Vec::new();
        let mut terms = TermsSpec {
            fallback: said(&self.fallback),
            offers: self.offers(&mut faults),
            free: self.free(&mut faults),
            restore_on: said(&self.restore_on).map(|text| words(&text)),
            invoice_expiry: said(&self.invoice_expiry),
            token_life: said(&self.token_life),
            ..TermsSpec::default()
        };
        match self.pricing {
            Pricing::Inherited => {}
            Pricing::Fixed => terms.price = said(&self.amount).map(PriceSpec::Text),
            Pricing::Free => {
                terms.price = Some(PriceSpec::Text("free".to_owned()));
                terms.fallback = None;
            }
            Pricing::Formula => {
                let outside = base.fallback.is_some();
                let own = terms.fallback.take();
                let (inner, outer) = if outside { (None, own) } else { (own, None) };
                terms.fallback = outer;
                terms.price = Some(PriceSpec::Formula {
                    formula: self.formula.clone(),
                    ceiling: said(&self.ceiling),
                    fallback: inner,
                    zero: self.zero(base),
                });
            }
            Pricing::Requests => terms.tiers = Some(self.tiers(TierRow::of_requests, &mut faults)),
            Pricing::Bytes => {
                terms.tiers = Some(self.tiers(TierRow::of_bytes, &mut faults));
                (terms.per, terms.ceiling) = (said(&self.per), said(&self.byte_ceiling));
            }
        }
        (terms, faults)
    }

    /// Likewise of a service, which sells single requests where it says nothing of offers.
    pub(super) fn service_terms(&self, base: &TermsSpec) -> (TermsSpec, Vec<SpecFault>) {
        let (mut terms, faults) = self.terms(base);
        if base.offers.is_none() && self.offers == [OfferRow::request()] {
            terms.offers = None;
        }
        (terms, faults)
    }

    fn zero(&self, base: &TermsSpec) -> Option<String> {
        let before = match &base.price {
            Some(PriceSpec::Formula { zero, .. }) => zero.clone(),
            _ => None,
        };
        match (self.zero, before) {
            (true, _) => Some("allow".to_owned()),
            // The usual way, spelt out or not.
            (false, before) => before.filter(|word| word != "allow"),
        }
    }

    fn tiers(
        &self,
        read: impl Fn(&TierRow, usize, &mut Vec<SpecFault>) -> TierSpec,
        faults: &mut Vec<SpecFault>,
    ) -> Vec<TierSpec> {
        self.tiers.iter().enumerate().map(|(n, row)| read(row, n, faults)).collect()
    }

    fn offers(&self, faults: &mut Vec<SpecFault>) -> Option<Vec<OfferSpec>> {
        let rows = self.offers.iter().enumerate();
        let offers: Vec<_> = rows.filter_map(|(n, row)| row.spec(n, faults)).collect();
        (!self.offers.is_empty()).then_some(offers)
    }

    fn free(&self, faults: &mut Vec<SpecFault>) -> Option<FreeSpec> {
        let requests = count(&self.free_requests, "free.requests", faults)?;
        Some(FreeSpec { requests, per: said(&self.free_per), by: said(&self.free_by) })
    }
}

impl TierRow {
    fn of(tier: &TierSpec) -> TierRow {
        let up_to = match &tier.up_to {
            None => String::new(),
            Some(UpTo::Requests(requests)) => requests.to_string(),
            Some(UpTo::Bytes(bytes)) => bytes.clone(),
        };
        TierRow { up_to, price: tier.price.clone() }
    }

    fn of_requests(&self, n: usize, faults: &mut Vec<SpecFault>) -> TierSpec {
        let up_to = count(&self.up_to, &format!("tiers[{n}].up_to"), faults).map(UpTo::Requests);
        TierSpec { up_to, price: self.price.clone() }
    }

    fn of_bytes(&self, _: usize, _: &mut Vec<SpecFault>) -> TierSpec {
        TierSpec { up_to: said(&self.up_to).map(UpTo::Bytes), price: self.price.clone() }
    }
}
