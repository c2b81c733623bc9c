//! Sample requests: what a rule makes of them is shown before it is saved.

use super::rate::Exchange;
use super::{Ask, Metering};
use super::{Meter, RequestFacts, ResponseFacts, Rule, Unpriced, Used};
use crate::types::{Msat, Timestamp};

/// A request, and what it is answered with.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The request.
    pub request: RequestFacts,
    /// The whole answer.
    pub answer: ResponseFacts,
}

/// What a rule makes of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleOutcome {
    /// What it costs: the price, or the cost of the sample's answer.
    pub price: Result<Msat, Unpriced>,
    /// What must be there to begin, and what is held at most, when it can be quoted.
    pub held: Option<(Msat, Msat)>,
}

impl Rule {
    /// What it makes of each sample, without any fallback, for a token that was not used before.
    pub fn try_samples(
        &self,
        samples: &[Sample],
        exchange: &dyn Exchange,
        now: Timestamp,
    ) -> Vec<SampleOutcome> {
        samples.iter().map(|sample| self.try_sample(sample, exchange, now)).collect()
    }

    fn try_sample(&self, sample: &Sample, exchange: &dyn Exchange, now: Timestamp) -> SampleOutcome {
        let ask = Ask { request: &sample.request, exchange, now, fallback: None };
        match self.quote(&ask) {
            Ok(quote) if quote.metering == Metering::Exact => {
                SampleOutcome { price: Ok(quote.most), held: Some((quote.least, quote.most)) }
            }
            Ok(quote) => {
                let meter = Meter::new(self, sample.request.clone(), &quote, Used::default());
                let price = meter.cost(&sample.answer).map(|cost| cost.min(quote.most));
                SampleOutcome { price, held: Some((quote.least, quote.most)) }
            }
            Err(why) => SampleOutcome { price: Err(why), held: None },
        }
    }
}
