//! Reads `[payouts]`: how far paying out may go.

use super::document::Section;
use super::layer::Layers;
use super::or_default;
use crate::egress::Reach;

pub(crate) fn read(layers: &mut Layers<'_>, top: &mut Section<'_, '_>) -> Reach {
    let mut section = top.section("payouts");
    let (private, source) = or_default(layers.answer(&mut section, "allow_private"), || false);
    layers.show("payouts.allow_private", private.to_string(), source);
    layers.problems.extend(section.finish());
    Reach::allowing(private)
}
