//! What the operator is told of the node's chain sources.

use futures_util::future::join_all;

use super::LightningNode;
use crate::chain::{ChainSource, check};
use crate::ports::{BoxFuture, ChainView, ChainWatch, SourceAnswer, SourceView};

impl ChainWatch for LightningNode {
    fn chain(&self) -> ChainView {
        let (seen, position) = (self.chain_seen.borrow(), self.sources.position());
        let config = self.sources.config();
        let source = |(at, source): (usize, &ChainSource)| SourceView {
            kind: source.kind(),
            name: source.to_string(),
            in_use: at == position,
            answers: seen.answers.get(at).copied().flatten(),
        };
        ChainView {
            sources: config.sources.iter().enumerate().map(source).collect(),
            unheard_s: seen.unheard_for.as_secs(),
            stale: seen.unheard_for >= config.stale_after,
            unsent: self.unsent.view(),
        }
    }

    fn ask(&self) -> BoxFuture<'_, Vec<SourceAnswer>> {
        let position = self.sources.position();
        let one = move |(at, source): (usize, ChainSource)| async move {
            let begun = self.clock.steady();
            let fault = check(&source, self.config.network).await.err();
            let took = self.clock.steady().saturating_sub(begun);
            SourceAnswer {
                kind: source.kind(),
                name: source.to_string(),
                in_use: at == position,
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                fault: fault.map(|fault| fault.to_string()),
            }
        };
        let sources = self.sources.config().sources.clone();
        Box::pin(join_all(sources.into_iter().enumerate().map(one)))
    }
}
