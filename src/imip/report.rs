//! Delivery reports.
use crate::mime::Mail;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport;
pub fn recognize(_m: &Mail<'_>) -> Option<DeliveryReport> {
    None
}
